package gate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
)

func (f *fixture) report(t testing.TB, id string, o gate.Outcome, want gate.Counted) {
	t.Helper()
	got, err := f.Report(t.Context(), &gate.Report{CheckID: id, Outcome: o})
	if err != nil || got != want {
		t.Fatalf("Report(%v) = %v, %v, want %v", o, got, err, want)
	}
}

func (f *fixture) refused(t testing.TB, rep gate.Report, reason string) {
	t.Helper()
	_, err := f.Report(t.Context(), &rep)
	var refused *gate.RefusedError
	if !errors.As(err, &refused) || refused.Reason != reason {
		t.Fatalf("Report(%v): err = %v, want %s", rep.Outcome, err, reason)
	}
}

func TestReport_notSentGivesBackExactlyWhatWasTaken(t *testing.T) {
	f := open(t, `limits:
  - {name: number, by: [number], limit: 2, window: 1h}
  - {name: client, by: [client], limit: 3, window: 1h}
  - {name: all, by: [account], limit: 100, window: 1h}
  - {name: shadow, by: [number], limit: 1, window: 2h, mode: shadow}`)
	first := f.check(t, ask("+6581234567", "203.0.113.7"))
	f.clock.add(time.Second)
	second := f.check(t, ask("+6581234567", "203.0.113.7"))
	f.clock.add(time.Second)
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Deny, "limit:number")
	f.report(t, first.CheckID, gate.NotSent, gate.News)
	f.report(t, first.CheckID, gate.NotSent, gate.Duplicate)
	third := f.check(t, ask("+6581234567", "203.0.113.7"))
	want(t, third, gate.Allow, "")
	if third.Rule != "number" || third.Remaining != 0 || third.Shadow[0].Kind != gate.Allow {
		t.Errorf("after one was given back: %+v", third)
	}
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Deny, "limit:number")
	f.report(t, second.CheckID, gate.NotSent, gate.News)
	f.report(t, third.CheckID, gate.NotSent, gate.News)
	for i := range 3 { // the client has all of its own again
		v := f.check(t, ask("+658123456"+string(rune('0'+i)), "203.0.113.7"))
		want(t, v, gate.Allow, "")
	}
	want(t, f.check(t, ask("+6581234569", "203.0.113.7")), gate.Deny, "limit:client")
}

func TestReport_eachOutcomeCountsOnce(t *testing.T) {
	type step struct {
		o    gate.Outcome
		want gate.Counted // 0: contradicts
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{gate.Sent, gate.News}, {gate.Delivered, gate.News}, {gate.Verified, gate.News}}},
		{"backwards", []step{{gate.Verified, gate.News}, {gate.Delivered, gate.Duplicate}, {gate.Sent, gate.Duplicate}, {gate.Verified, gate.Duplicate}}},
		{"not sent first", []step{{gate.NotSent, gate.News}, {gate.Sent, 0}, {gate.Delivered, 0}, {gate.Undelivered, 0}, {gate.Verified, 0}, {gate.Failed, 0}, {gate.NotSent, gate.Duplicate}}},
		{"sent first", []step{{gate.Sent, gate.News}, {gate.NotSent, 0}, {gate.Verified, gate.News}, {gate.NotSent, 0}}},
		{"late success", []step{{gate.Expired, gate.News}, {gate.Verified, gate.News}, {gate.Failed, 0}, {gate.Expired, 0}}},
		{"one end", []step{{gate.Failed, gate.News}, {gate.Expired, gate.Duplicate}, {gate.Failed, gate.Duplicate}}},
		{"arrived after all", []step{{gate.Undelivered, gate.News}, {gate.Delivered, gate.News}, {gate.Undelivered, 0}}},
		{"another way", []step{{gate.VerifiedOtherWay, gate.News}, {gate.Verified, gate.Duplicate}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t, "")
			id := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
			for i, s := range test.steps {
				f.clock.add(time.Second)
				if s.want == 0 {
					f.refused(t, gate.Report{CheckID: id, Outcome: s.o}, "OUTCOME_CONTRADICTS")
					continue
				}
				if got, err := f.Report(t.Context(), &gate.Report{CheckID: id, Outcome: s.o}); err != nil || got != s.want {
					t.Fatalf("step %d: Report(%v) = %v, %v, want %v", i+1, s.o, got, err, s.want)
				}
			}
		})
	}
}

func TestReport_refusesIDs(t *testing.T) {
	f := open(t, "limits: [{name: one, by: [number], limit: 1, window: 1h}]\naccounts: {acme: {}, globex: {}}")
	req := ask("+6581234567", "203.0.113.7")
	req.Account = "acme"
	allowed := f.check(t, req)
	denied := f.check(t, req)
	want(t, denied, gate.Deny, "limit:one")
	own := gate.Report{CheckID: allowed.CheckID, Outcome: gate.Verified, Account: "acme"}
	for name, test := range map[string]struct {
		change func(*gate.Report)
		reason string
	}{
		"no id":           {func(r *gate.Report) { r.CheckID = "abc" }, "CHECK_ID_UNKNOWN"},
		"forged":          {func(r *gate.Report) { r.CheckID = allowed.CheckID[:60] + "AAAA" + allowed.CheckID[64:] }, "CHECK_ID_FORGED"},
		"other account":   {func(r *gate.Report) { r.Account = "globex" }, "CHECK_ID_OTHER_ACCOUNT"},
		"no account":      {func(r *gate.Report) { r.Account = "" }, "CHECK_ID_OTHER_ACCOUNT"},
		"of a denied one": {func(r *gate.Report) { r.CheckID = denied.CheckID }, "CHECK_NOT_ALLOWED"},
	} {
		t.Run(name, func(t *testing.T) {
			rep := own
			test.change(&rep)
			f.refused(t, rep, test.reason)
		})
	}
	rep := own
	rep.Caller.Account = "globex"
	var forbidden *gate.ForbiddenError
	if _, err := f.Report(t.Context(), &rep); !errors.As(err, &forbidden) {
		t.Errorf("another account's caller: err = %v", err)
	}
	for _, o := range []gate.Outcome{0, 9} {
		var invalid *gate.InvalidError
		if _, err := f.Report(t.Context(), &gate.Report{CheckID: allowed.CheckID, Outcome: o}); !errors.As(err, &invalid) {
			t.Errorf("outcome %v: err = %v", o, err)
		}
	}
	f.clock.add(time.Hour)
	rep = own
	rep.Outcome = gate.Sent
	if _, err := f.Report(t.Context(), &rep); err != nil {
		t.Errorf("at the very end: %v", err)
	}
	f.clock.add(time.Microsecond)
	f.refused(t, own, "OUTCOME_LATE")
}

// A deployment that reads VERIFIED nowhere is told so once, and believed again with the first.
func TestFeedback(t *testing.T) {
	var seen feedbackLog
	f := open(t, "limits: [{name: all, by: [account], limit: 1000000, window: 1s}]", &seen)
	number := "+6581234567"
	for range gate.SilentAfter {
		f.check(t, ask(number, ""))
	}
	f.clock.add(time.Hour)
	last := f.check(t, ask(number, ""))
	if got := f.Feedback(); got != gate.FeedbackUnknown {
		t.Fatalf("before the newest of %d is over an hour old: %v", gate.SilentAfter, got)
	}
	f.clock.add(time.Second)
	f.check(t, ask(number, ""))
	f.check(t, ask(number, ""))
	if got := f.Feedback(); got != gate.FeedbackSilent {
		t.Fatalf("without a report: %v", got)
	}
	// Another life of the process knows it at once.
	again, err := gate.New(t.Context(), gate.Options{Policy: f.Policy(), Store: f.store, Clock: f.clock.read})
	if err != nil || again.Feedback() != gate.FeedbackSilent {
		t.Errorf("after a restart: %v, %v", again.Feedback(), err)
	}
	f.report(t, last.CheckID, gate.Delivered, gate.News)
	if got := f.Feedback(); got != gate.FeedbackSilent {
		t.Errorf("DELIVERED says nothing of conversion: %v", got)
	}
	f.report(t, last.CheckID, gate.Verified, gate.News)
	if got := f.Feedback(); got != gate.FeedbackReporting {
		t.Errorf("after a VERIFIED: %v", got)
	}
	f.Close()
	if len(seen) != 2 || seen[0] != gate.FeedbackSilent || seen[1] != gate.FeedbackReporting {
		t.Errorf("observers were told %v", seen)
	}
}

type feedbackLog []gate.FeedbackState

func (*feedbackLog) Checked(*gate.Event)             {}
func (l *feedbackLog) FeedbackChanged(e *gate.Event) { *l = append(*l, e.Feedback) }
