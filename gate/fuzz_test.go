package gate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
)

// Whatever a caller writes, he gets a verdict or is told which field is wrong.
func FuzzCheck(f *testing.F) {
	f.Add("+6581234567", "203.0.113.7", "", "", "acme", "otp", "sms", int64(1))
	f.Add("００65 8123-4567", "[::ffff:203.0.113.7]:80", "", "", "", "", "", int64(2))
	f.Add("tel:+1 (415) 555-2671 ext. 9", "", "10.0.0.1", "6.6.6.6, 203.0.113.7", "", "marketing", "SMS", int64(0))
	f.Add("", "unknown", "", strings.Repeat("1.1.1.1,", 500), "\xff", "spam", "x y", int64(-1<<63))
	x := open(f, `client_address: {trusted_proxies: [10.0.0.0/8], missing_client: bucket}
limits:
  - {name: number, by: [number, account, channel, purpose], limit: 3, window: 1m}
  - {name: client, by: [client], limit: 100, window: 1m}
  - {name: country, by: [country], limit: 1000, window: 1s, mode: shadow}`)
	f.Fuzz(func(t *testing.T, number, client, peer, line, account, purpose, channel string, cost int64) {
		req := gate.Request{Number: number, ClientAddress: client, Account: account, Purpose: purpose, Channel: channel, Cost: cost,
			Forwarded: &gate.Forwarded{Peer: peer, XForwardedFor: []string{line}}}
		v, err := x.Check(t.Context(), &req)
		var invalid *gate.InvalidError
		switch {
		case err == nil && (v.Kind < gate.Allow || v.Kind > gate.Challenge || v.CheckID == "" || (v.Kind == gate.Allow) != (v.Reason == "")):
			t.Errorf("verdict %+v", v)
		// A large limit may hold its units for one bucket longer than its window.
		case err == nil && (v.RetryAfter < 0 || v.RetryAfter > v.Window+v.Window/limiter.Buckets || v.Remaining < 0 || v.Remaining > v.Limit):
			t.Errorf("verdict %+v", v)
		case err != nil && (!errors.As(err, &invalid) || len(invalid.Violations) == 0):
			t.Errorf("err = %v, want an InvalidError", err)
		}
	})
}

// What a damaged memory answers is a verdict or nothing, and never a panic.
func FuzzReadVerdict(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 0, 0, 2, 2, 2, 2, 2, 0, 0, 0})
	f.Add([]byte{1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := gate.ReadVerdict(b)
		if again, same := gate.ReadBack(v); ok && len(b) <= replies.MaxReply && (!same || !equalVerdicts(v, again)) {
			t.Errorf("%x reads as %+v, then as %+v", b, v, again)
		}
	})
}
