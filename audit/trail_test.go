package audit_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

var (
	key = []byte("0123456789abcdef0123456789abcdef")
	now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
)

func clock() time.Time { return now }

func trail(t testing.TB, dir string, sample float64) *audit.Trail {
	t.Helper()
	tr, err := audit.OpenTrail(audit.TrailOptions{Dir: dir, Secret: key, Now: clock, Log: slog.New(slog.DiscardHandler), AllowSample: sample})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// kinds are those of a log's records, but for heads of files; find returns the data of the first of a kind.
func kinds(t testing.TB, dir string) (all []string, find func(kind string, into any)) {
	t.Helper()
	data := map[string]json.RawMessage{}
	for r, err := range audit.Read(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != audit.KindFile {
			all = append(all, r.Kind)
		}
		if data[r.Kind] == nil {
			data[r.Kind] = r.Data
		}
	}
	return all, func(kind string, into any) {
		if err := json.Unmarshal(data[kind], into); err != nil {
			t.Fatalf("%s: %v: %s", kind, err, data[kind])
		}
	}
}

// A real gate with a trail: refusals are kept whatever the sample, what is allowed and its outcomes for numbers in it.
func TestTrail_ofAGate(t *testing.T) {
	for sample, want := range map[float64]string{0: "deny", 1: "allow deny outcome"} {
		dir := t.TempDir()
		tr := trail(t, dir, sample)
		store, err := limiter.Open(limiter.Options{Size: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		p, err := policy.Parse("test.yaml", []byte("version: 1\nlimits: [{name: one, by: [number], limit: 1, window: 1h}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := gate.New(t.Context(), gate.Options{Policy: p, Store: store, Clock: clock, Observers: []gate.Observer{tr}})
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Start(struct{}{}, nil, func() uint64 { return 0 }); err != nil {
			t.Fatal(err)
		}
		var id string
		for range 2 {
			v, err := g.Check(t.Context(), &gate.Request{Number: "+6581234567", ClientAddress: "203.0.113.7", Account: "acme", Endpoint: "/sms/81234567", Purpose: "otp", Cost: 1})
			if err != nil {
				t.Fatal(err)
			}
			if v.Kind == gate.Allow {
				id = v.CheckID
			}
		}
		if _, err := g.Report(t.Context(), &gate.Report{CheckID: id, Outcome: gate.Verified, Account: "acme", Detail: "code to 81234567"}); err != nil {
			t.Fatal(err)
		}
		g.Close()
		if _, err := tr.Write([]byte(`{"change":"list_add"}` + "\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Write([]byte("nonsense")); err == nil {
			t.Error("nonsense is a change")
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		if err := tr.Close(); err != nil { // again
			t.Fatal(err)
		}
		got, find := kinds(t, filepath.Join(dir, audit.ChecksDir))
		if strings.Join(got, " ") != want {
			t.Fatalf("sample %v: %v, want %s", sample, got, want)
		}
		var c audit.Check
		find(audit.KindDeny, &c)
		if c.Reason != "limit:one" || c.Rule != "one" || c.Account != "acme" || c.Endpoint != "/sms/#" || c.RetryMS != 3_600_000 || !strings.HasPrefix(c.Number, "+6581") ||
			!strings.HasPrefix(c.Client, "ip4:ml") || c.Policy == "" || c.CheckID == "" {
			t.Errorf("%+v", c)
		}
		if sample == 1 {
			var o audit.Outcome
			if find(audit.KindOutcome, &o); o.Number != c.Number || o.CheckID != id || o.Outcome != "verified" || o.Detail != "code to #" {
				t.Errorf("%+v", o)
			}
		}
		if got, _ := kinds(t, filepath.Join(dir, audit.ChangesDir)); strings.Join(got, " ") != "start admin stop" {
			t.Error(got)
		}
		for _, folder := range []string{audit.ChecksDir, audit.ChangesDir} {
			if r, err := audit.Verify(filepath.Join(dir, folder), [][]byte{key}, ""); err != nil || len(r.Faults) > 0 {
				t.Errorf("%s: %v %v", folder, r, err)
			}
		}
	}
}

// Alerts of an earlier life are not told again, those of this one are; what the gate's observers missed is said.
func TestTrail_follows(t *testing.T) {
	dir := t.TempDir()
	tr := trail(t, dir, 0)
	alerts := []detect.Alert{{Seq: 1, At: now.UnixNano(), Text: "of before"}}
	var missed uint64
	after := func(seq uint64) (out []detect.Alert) {
		for _, a := range alerts {
			if a.Seq > seq {
				out = append(out, a)
			}
		}
		return out
	}
	if err := tr.Start(struct{}{}, after, func() uint64 { return missed }); err != nil {
		t.Fatal(err)
	}
	alerts = append(alerts, detect.Alert{Seq: 2, At: now.UnixNano(), Signal: detect.Signal{Kind: detect.VictimFlood, Subject: detect.Subject{Scope: detect.ScopeNumber, Digits: 6581234567}, Statistic: 12}})
	missed = 7
	if err := tr.Close(); err != nil { // looks for the last time
		t.Fatal(err)
	}
	got, find := kinds(t, filepath.Join(dir, audit.ChangesDir))
	var s audit.Signal
	if find(audit.KindBlock, &s); strings.Count(fmt.Sprint(got), "block") != 1 || s.Kind != "victim_flood" || !strings.HasPrefix(s.Number, "+6581") || strings.Contains(s.Number+s.Subject, "8123") {
		t.Errorf("%v %+v", got, s)
	}
	if r, err := audit.Verify(filepath.Join(dir, audit.ChecksDir), [][]byte{key}, ""); err != nil || r.Dropped != 7 {
		t.Errorf("%+v %v", r, err)
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	l, err := audit.Open(audit.Options{Dir: dir, Secret: key, Now: clock})
	if err != nil {
		panic(err)
	}
	if err := l.Append("admin", map[string]string{"change": "list_add", "author": "alice"}); err != nil {
		panic(err) // then do not make the change
	}
	if err := l.Close(); err != nil {
		panic(err)
	}
	r, err := audit.Verify(dir, [][]byte{key}, "")
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Lines, "lines,", len(r.Faults), "faults")
	// Output: 2 lines, 0 faults
}

// A flood of refusals: so many one by one, the others counted by reason and account, none lost; and with time they are written again.
func TestTrail_flood(t *testing.T) {
	dir := t.TempDir()
	tr, err := audit.OpenTrail(audit.TrailOptions{Dir: dir, Secret: key, Now: clock, Log: slog.New(slog.DiscardHandler), Refusals: 2})
	if err != nil {
		t.Fatal(err)
	}
	n, err := phone.FromDigits(6581234567)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(at time.Time, times int, reason, account string) {
		for range times {
			tr.Checked(&gate.Event{Cost: 1, Send: policy.Send{Number: n, Account: account},
				Verdict: gate.Verdict{Kind: gate.Deny, Reason: reason, At: at}})
		}
	}
	refuse(now, 70, "limit:a", "acme")                 // 60 at once
	refuse(now, 30, "limit:b", "+6581234567")          // an account that is a number
	refuse(now.Add(time.Second), 5, "limit:a", "acme") // two more
	refuse(now.Add(-time.Hour), 1, "limit:a", "acme")  // a step back brings none
	for i := range 1000 {
		refuse(now, 1, "limit:c", fmt.Sprint("made up ", i))
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	all, find := kinds(t, filepath.Join(dir, audit.ChecksDir))
	denied := 0
	for _, k := range all {
		if k == audit.KindDeny {
			denied++
		}
	}
	var c audit.Counted
	find(audit.KindCounted, &c)
	total := uint64(0)
	for _, r := range c.Refusals {
		total += r.Count
	}
	if denied != 62 || total != 10+30+3+1+1000 || len(c.Refusals) > 257 {
		t.Errorf("%d written, %d counted in %d; want 62, 1044, at most 257", denied, total, len(c.Refusals))
	}
	// The many that were made up share one place; the others are told apart.
	if got, want := fmt.Sprint(c.Refusals[:3]), "[{deny   746} {deny limit:b +# 30} {deny limit:a acme 14}]"; got != want {
		t.Errorf("most: %s, want %s", got, want)
	}
}
