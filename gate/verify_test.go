package gate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
)

// free lets sends pass, so that tests are about codes.
const free = "limits: [{name: number, by: [number], limit: 1000, window: 1s}]\n"

func (f *fixture) enter(t testing.TB, req gate.VerifyRequest) gate.Verdict {
	t.Helper()
	v, err := f.CheckVerify(t.Context(), &req)
	if err != nil {
		t.Fatalf("CheckVerify: %v", err)
	}
	return v
}

func code(id string) gate.VerifyRequest {
	return gate.VerifyRequest{CheckID: id, Request: gate.Request{ClientAddress: "203.0.113.7"}}
}

func TestVerify_fiveWrongCodesForAnOTP(t *testing.T) {
	f := open(t, free)
	id := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
	for i := range 5 {
		v := f.enter(t, code(id))
		want(t, v, gate.Allow, "")
		if i == 4 && (v.Rule != "verify-code" || v.Remaining != 0 || v.Limit != 5) {
			t.Errorf("the last code: %+v", v)
		}
		f.clock.add(time.Second)
	}
	f.clock.add(30 * time.Minute) // no wait for the number any more
	v := f.enter(t, code(id))
	want(t, v, gate.Deny, "limit:verify-code")
	if v.RetryAfter != 0 {
		t.Errorf("retry after %v, though only a new code helps", v.RetryAfter)
	}
	// A new code can be entered.
	next := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
	want(t, f.enter(t, code(next)), gate.Allow, "")
	f.report(t, next, gate.Verified, gate.News)
	want(t, f.enter(t, code(next)), gate.Deny, "verify:used")
	f.clock.add(time.Hour)
	f.clock.add(time.Second)
	want(t, f.enter(t, code(id)), gate.Deny, "verify:expired")
}

func TestVerify_waitsGrowAndASuccessEndsThem(t *testing.T) {
	f := open(t, free+"otp: {verify: {codes: 62, number: {free: 3, base: 30s, factor: 2, max: 1h, jitter: 0%}}}")
	id := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
	for range 3 {
		want(t, f.enter(t, code(id)), gate.Allow, "")
	}
	for i, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		want(t, f.enter(t, code(id)), gate.Allow, "")
		v := f.enter(t, code(id))
		want(t, v, gate.Deny, "delay:verify-number")
		if v.RetryAfter != wait {
			t.Errorf("wait %d is %v, want %v", i+1, v.RetryAfter, wait)
		}
		f.clock.add(wait)
	}
	want(t, f.enter(t, code(id)), gate.Allow, "")
	want(t, f.enter(t, code(id)), gate.Deny, "delay:verify-number")
	f.report(t, id, gate.Verified, gate.News)
	next := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
	for range 3 {
		want(t, f.enter(t, code(next)), gate.Allow, "")
	}
}

// Whatever waits, whatever OTPs and clients: no more than 100 wrong codes follow one another.
func TestVerify_atMostAHundredConsecutiveFailures(t *testing.T) {
	f := open(t, free+"otp: {verify: {client: {limit: 100000, window: 10m}}}")
	entered := 0
	var v gate.Verdict
	for _, passed := range []bool{false, true} {
		for range 1000 {
			id := f.check(t, ask("+6581234567", "")).CheckID
			req := code(id)
			req.ChallengePassed, req.Caller.Trusted = passed, true
			if v = f.enter(t, req); v.Kind == gate.Allow {
				entered++
				continue
			}
			if v.RetryAfter == 0 {
				break
			}
			f.clock.add(v.RetryAfter)
		}
		want(t, v, gate.Deny, "limit:verify-consecutive")
	}
	if entered != 100 {
		t.Errorf("%d codes were entered in a row, want 100", entered)
	}
	f.clock.add(360 * 24 * time.Hour)
	id := f.check(t, ask("+6581234567", "")).CheckID
	want(t, f.enter(t, code(id)), gate.Deny, "limit:verify-consecutive")
	f.report(t, id, gate.Verified, gate.News) // he got in, by whatever means
	id = f.check(t, ask("+6581234567", "")).CheckID
	want(t, f.enter(t, code(id)), gate.Allow, "")
}

func TestVerify_aClientThatTriesManyNumbersIsChallenged(t *testing.T) {
	f := open(t, free+"otp: {verify: {client: {limit: 3, window: 10m}}}")
	for i := range 4 {
		id := f.check(t, ask("+658123456"+string(rune('0'+i)), "")).CheckID
		kind, reason := gate.Allow, ""
		if i == 3 {
			kind, reason = gate.Challenge, "limit:verify-client"
		}
		want(t, f.enter(t, code(id)), kind, reason)
		if i == 3 {
			passed := code(id)
			passed.ChallengePassed, passed.Caller.Trusted = true, true
			want(t, f.enter(t, passed), gate.Allow, "")
			passed.Caller.Trusted = false // his word alone is not believed
			want(t, f.enter(t, passed), gate.Challenge, "limit:verify-client")
		}
	}
}

// A stranger who guesses does not lock the owner out: after a challenge there is a budget of its own.
func TestVerify_theOwnerOfAKnownGoodNumberGetsIn(t *testing.T) {
	f := open(t, free+"otp: {verify: {number: {free: 2, jitter: 0%}}}")
	f.report(t, f.check(t, ask("+6581234567", "")).CheckID, gate.Verified, gate.News)
	stranger := f.check(t, ask("+6581234567", "198.51.100.9")).CheckID
	for range 3 {
		want(t, f.enter(t, code(stranger)), gate.Allow, "")
	}
	owner := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
	want(t, f.enter(t, code(owner)), gate.Challenge, "delay:verify-number")
	passed := code(owner)
	passed.ChallengePassed, passed.Caller.Trusted = true, true
	want(t, f.enter(t, passed), gate.Allow, "")
	// A number that nobody knows waits.
	id := f.check(t, ask("+6581234568", "")).CheckID
	for range 3 {
		want(t, f.enter(t, code(id)), gate.Allow, "")
	}
	want(t, f.enter(t, code(id)), gate.Deny, "delay:verify-number")
}

func TestVerify_withoutACheckID(t *testing.T) {
	f := open(t, free+"otp: {verify: {number: {free: 2, jitter: 0%}}}")
	byNumber := gate.VerifyRequest{Request: gate.Request{Number: "+65 8123 4567"}}
	for range 3 {
		want(t, f.enter(t, byNumber), gate.Allow, "")
	}
	want(t, f.enter(t, byNumber), gate.Deny, "delay:verify-number")
	var invalid *gate.InvalidError
	if _, err := f.CheckVerify(t.Context(), &gate.VerifyRequest{}); !errors.As(err, &invalid) {
		t.Errorf("with nothing: %v", err)
	}
	id := f.check(t, ask("+6581234560", "")).CheckID
	other := code(id)
	other.Number = "+6581234561"
	if _, err := f.CheckVerify(t.Context(), &other); !errors.As(err, &invalid) || invalid.Violations[0].Reason != "NUMBER_OTHER" {
		t.Errorf("with another number: %v", err)
	}
	var refused *gate.RefusedError
	if _, err := f.CheckVerify(t.Context(), &gate.VerifyRequest{CheckID: "x"}); !errors.As(err, &refused) {
		t.Errorf("with no check id: %v", err)
	}
}
