package gate_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
)

// sameKeys is a store that hashes keys the same in every test, so that two of them fill up alike.
type sameKeys struct{ limiter.Store }

func (sameKeys) Key(b []byte) limiter.Key {
	h := fnv.New128a()
	h.Write(b)
	sum := h.Sum(nil)
	k := limiter.Key{}
	for i := range 8 {
		k.Fingerprint, k.Place = k.Fingerprint<<8|uint64(sum[i]), k.Place<<8|uint64(sum[8+i])
	}
	return k
}

// twin is one of two gates that are shown the same traffic.
type twin struct {
	*gate.Gate
	now  time.Time
	ids  []string
	book *report.Book
}

func newTwin(t testing.TB, yaml string) *twin {
	t.Helper()
	store, err := limiter.Open(limiter.Options{Size: 1 << 20}) // so small that it fills up
	if err != nil {
		t.Fatal(err)
	}
	engine, err := detect.New(detect.Options{Size: detect.MinSize, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	table, err := prices.Parse("prices", []byte("prefix,price,currency\n65,0.04,USD\n62,0.30,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := &twin{now: time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC), book: report.New()}
	w.Gate, err = gate.New(t.Context(), gate.Options{Policy: parse(t, yaml), Store: sameKeys{store}, Detect: engine, Prices: table,
		Clock: func() time.Time { return w.now }, Secret: make([]byte, gate.SecretSize), Report: w.book})
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	t.Cleanup(func() { w.Close(); engine.Close(); store.Close() })
	return w
}

// says is all of a verdict that enforcement decides.
func (w *twin) says(t testing.TB, req gate.Request) string {
	v, err := w.Check(t.Context(), &req)
	if err != nil {
		w.ids = append(w.ids, "")
		return err.Error()
	}
	w.ids = append(w.ids, v.CheckID)
	return fmt.Sprint(v.Kind, v.Reason, " ", v.Rule, " after ", v.RetryAfter, " ", v.Remaining, " of ", v.Limit, " in ", v.Window, " skipped ", v.Skipped)
}

func (w *twin) told(t testing.TB, i int, account string, o gate.Outcome) string {
	counted, err := w.Report(t.Context(), &gate.Report{CheckID: w.ids[i], Account: account, Outcome: o, Caller: gate.Caller{Trusted: true}})
	return fmt.Sprint(counted, err)
}

// enforcedHere and the rest are a policy in two parts: what is enforced, and what is in shadow or, written as off, is not there.
const enforcedHere = `
  - {name: number, by: [number], limit: 3, window: 10m}
  - {name: client, by: [client], limit: 6, window: 2m, on_limit: challenge, count_denied: true}
  - {name: country, by: [country], limit: 900, window: 1h, match: {country: [ID, SG]}}`

// shadowed draws what is added in shadow. MODE is replaced by shadow, or by off.
func shadowed(r *rand.Rand) (limits, rest string) {
	by := []string{"number", "client", "number, client", "account", "country", "range3", "client/24", "endpoint"}
	for i := range 1 + r.IntN(5) {
		limits += fmt.Sprintf("\n  - {name: extra-%d, by: [%s], limit: %d, window: %ds, mode: MODE, count_denied: %v, on_limit: %s, match: {known_good: %v}}", i,
			by[r.IntN(len(by))], 1+r.IntN(90), 1+r.IntN(7200), r.IntN(2) == 0, []string{"deny", "challenge"}[r.IntN(2)], r.IntN(2) == 0)
	}
	rest = fmt.Sprintf("\ndelays: {otp: {free: %d, base: %ds, mode: MODE, count_denied: %v}}", r.IntN(3), 1+r.IntN(90), r.IntN(2) == 0)
	rest += fmt.Sprintf("\nspend: [{name: day, by: [country], budget: %d.10, currency: USD, window: 24h, of: unverified, warn_at: 50%%, challenge_at: 80%%, mode: MODE}]", r.IntN(3))
	kinds := detect.Kinds()
	var detectors []string
	for _, k := range kinds {
		if r.IntN(2) == 0 {
			detectors = append(detectors, k.String()+": {mode: MODE}")
		}
	}
	rest += "\ndetect: {" + strings.Join(detectors, ", ") + "}"
	rest += "\naccounts: {acme: {detect: {" + kinds[r.IntN(len(kinds))].String() + ": {mode: MODE}}, limits: [{name: extra-0, by: number, limit: 2, window: 1h, mode: MODE}]}, globex: {}}"
	return limits, rest
}

// anySend draws the next send: people, a flood on one number, a pumped range, one address asking for many.
func anySend(r *rand.Rand) gate.Request {
	req := gate.Request{Cost: 1, Account: []string{"acme", "globex"}[r.IntN(2)], Endpoint: "login", Caller: gate.Caller{Trusted: true}, ChallengePassed: r.IntN(8) == 0}
	req.ClientAddress = netip.AddrFrom4([4]byte{62, 9, byte(r.IntN(40)), byte(r.IntN(3))}).String()
	switch r.IntN(4) {
	case 0:
		req.Number = fmt.Sprintf("+6581234%03d", r.IntN(300))
	case 1:
		req.Number, req.ClientAddress = "+6581234567", netip.AddrFrom4([4]byte{20, byte(r.IntN(250)), 1, 1}).String()
	case 2:
		req.Number = fmt.Sprintf("+62812345%05d", r.IntN(4000))
		req.Cost = int64(1 + r.IntN(2))
	default:
		req.Number, req.ClientAddress = fmt.Sprintf("+6582%06d", r.IntN(1e6)), "203.0.113.7"
	}
	return req
}

// Whatever is put in shadow beside a policy, no verdict of any traffic differs from that of the policy without it.
func TestShadow_changesNoVerdict(t *testing.T) {
	cases, sends := 12, 1500
	if testing.Short() {
		cases, sends = 6, 800
	}
	stopped, would := map[string]int{}, 0
	for seed := range uint64(cases) {
		r := rand.New(rand.NewPCG(seed, 8))
		limits, rest := shadowed(r)
		candidates := fmt.Sprintf(", candidates: [{limit: %d}, {window: %ds}]", 4+r.IntN(9), 10+r.IntN(500))
		bare := "limits:" + enforcedHere + strings.ReplaceAll(limits, "MODE", "off") + strings.ReplaceAll(rest, "MODE", "off")
		full := "limits:" + strings.Replace(enforcedHere, "window: 10m", "window: 10m"+candidates, 1) + strings.ReplaceAll(limits, "MODE", "shadow") + strings.ReplaceAll(rest, "MODE", "shadow")
		plain, beside := newTwin(t, bare), newTwin(t, full)
		accounts := make([]string, 0, sends)
		for i := range sends {
			step := time.Duration(r.IntN(40)) * time.Second
			plain.now, beside.now = plain.now.Add(step), beside.now.Add(step)
			req := anySend(r)
			accounts = append(accounts, req.Account)
			want, got := plain.says(t, req), beside.says(t, req)
			if want != got {
				t.Fatalf("seed %d, send %d %+v\nwithout shadow %s\nwith shadow    %s\n%s", seed, i, req, want, got, full)
			}
			stopped[strings.Fields(want)[0]]++
			if r.IntN(3) > 0 {
				at := max(0, i-r.IntN(6))
				o := []gate.Outcome{gate.Verified, gate.Verified, gate.Failed, gate.NotSent, gate.Delivered, gate.VerifiedOtherWay}[r.IntN(6)]
				if strings.HasPrefix(accounts[at], "acme") || r.IntN(2) == 0 {
					if want, got := plain.told(t, at, accounts[at], o), beside.told(t, at, accounts[at], o); want != got {
						t.Fatalf("seed %d, outcome %s of send %d\nwithout shadow %s\nwith shadow    %s\n%s", seed, o, at, want, got, full)
					}
				}
			}
		}
		for _, e := range beside.book.Entries(time.Time{}) {
			would += int(e.Total.Stopped())
		}
	}
	reasons := 0
	for reason := range stopped {
		if !strings.HasPrefix(reason, "allow") {
			reasons++
		}
	}
	if reasons < 4 || would < 100 {
		t.Errorf("the test shows little: %v, and shadow would have stopped %d", stopped, would)
	}
}

// An account in shadow is never stopped, and others are judged as if it were not there.
func TestShadow_accountIsAsIfItWereNotThere(t *testing.T) {
	policy := "limits:" + enforcedHere + "\ndelays: {otp: {free: 2}}\nspend: [{name: day, by: [country], budget: 2, currency: USD, window: 24h}]\naccounts: {acme: {MODE}, globex: {}}"
	alone := newTwin(t, strings.Replace(policy, "{MODE}", "{}", 1))
	both := newTwin(t, strings.Replace(policy, "{MODE}", "{mode: shadow}", 1))
	r := rand.New(rand.NewPCG(3, 3))
	would := 0
	for i := range 3000 {
		step := time.Duration(r.IntN(20)) * time.Second
		alone.now, both.now = alone.now.Add(step), both.now.Add(step)
		req := anySend(r)
		if req.Account == "acme" {
			v, err := both.Check(t.Context(), &req)
			if err != nil || v.Kind != gate.Allow {
				t.Fatalf("send %d of the account in shadow: %v %v %s", i, err, v.Kind, v.Reason)
			}
			if slices.ContainsFunc(v.Shadow, func(s gate.ShadowResult) bool { return s.Kind == gate.Deny }) {
				would++
			}
			if r.IntN(4) == 0 {
				if _, err := both.Report(t.Context(), &gate.Report{CheckID: v.CheckID, Account: "acme", Outcome: gate.Verified, Caller: gate.Caller{Trusted: true}}); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		want, got := alone.says(t, req), both.says(t, req)
		if want != got {
			t.Fatalf("send %d %+v\nalone       %s\nbeside acme %s", i, req, want, got)
		}
		if o := gate.Verified; r.IntN(2) == 0 {
			if want, got := alone.told(t, len(alone.ids)-1, "globex", o), both.told(t, len(both.ids)-1, "globex", o); want != got {
				t.Fatalf("outcome of send %d: alone %s, beside acme %s", i, want, got)
			}
		}
	}
	if would < 100 {
		t.Errorf("the test shows little: %d sends of the account would have been stopped", would)
	}
	rows := map[string]report.Tally{}
	for _, e := range both.book.Entries(time.Time{}) {
		rows[e.Name] = e.Total
	}
	for _, name := range []string{"account:acme/number", "account:acme/delay:otp", "account:acme/day", "account:acme/detect:victim_flood"} {
		if n := rows[name]; n.Judged == 0 || n.Stopped() == 0 || n.Money == 0 {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

// The report joins what would have been stopped with what became of it, also over a restart and a change of the policy.
func TestShadow_reportJoinsOutcomes(t *testing.T) {
	w := newTwin(t, "limits: [{name: number, by: [number], limit: 3, window: 1h, candidates: [{limit: 2}, {limit: 5}]}, {name: trial, by: [client], limit: 1, window: 1h, mode: shadow}]")
	for i := range 6 {
		w.now = w.now.Add(time.Minute)
		req := gate.Request{Number: "+6581234567", ClientAddress: fmt.Sprintf("203.0.113.%d", i), Cost: 1, Account: "acme", Caller: gate.Caller{Trusted: true}}
		if i == 1 {
			req.ClientAddress = "203.0.113.0"
		}
		w.says(t, req)
	}
	// Allowed are 0, 1 and 2. trial would have stopped 1, number~2 would have stopped 2; number~5 would have let 3 and 4 pass.
	if err := w.SetPolicy(t.Context(), parse(t, "limits: [{name: other, by: [number], limit: 9, window: 1h}]")); err != nil {
		t.Fatal(err)
	}
	for i, o := range []gate.Outcome{gate.Verified, gate.Verified, gate.Failed} {
		if got := w.told(t, i, "acme", o); got != "1 <nil>" {
			t.Fatalf("outcome %d: %s", i, got)
		}
	}
	want := map[string]report.Tally{
		"number":   {Judged: 6, Denied: 3, Money: 120_000},
		"number~2": {Judged: 6, Denied: 1, Money: 40_000, Failed: 1},
		"number~5": {Judged: 6, Freed: 2, FreedMoney: 80_000},
		"trial":    {Judged: 3, Denied: 1, Money: 40_000, Verified: 1, VerifiedMoney: 40_000},
	}
	for _, e := range w.book.Entries(time.Time{}) {
		if e.Total != want[e.Name] {
			t.Errorf("%s\n got %+v\nwant %+v", e.Name, e.Total, want[e.Name])
		}
		delete(want, e.Name)
		for _, g := range slices.Concat(e.Countries, e.Accounts) {
			if g.Name != "SG" && g.Name != "acme" {
				t.Errorf("%s: group %+v", e.Name, g)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
}

// Who is forgotten, or whose counters are reset, is so by what is in shadow too.
func TestShadow_forgetsAndResets(t *testing.T) {
	w := newTwin(t, "limits: [{name: number, by: [number], limit: 9, window: 1h, candidates: [{limit: 1}]}]\ndetect: {victim_flood: {mode: shadow}}\naccounts: {acme: {mode: shadow}}")
	req := gate.Request{Number: "+6581234567", Account: "acme", Cost: 1, Caller: gate.Caller{Trusted: true}}
	said := func() gate.Kind {
		v, err := w.Check(t.Context(), &req)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(v.Shadow, func(s gate.ShadowResult) bool { return s.Rule == "number~1" })
		return v.Shadow[i].Kind
	}
	if first, second := said(), said(); first != gate.Allow || second != gate.Deny {
		t.Fatalf("the candidate says %v, %v", first, second)
	}
	if _, err := w.Forget(t.Context(), req.Number, "ann"); err != nil {
		t.Fatal(err)
	}
	if got := said(); got != gate.Allow {
		t.Errorf("forgotten, and the candidate says %v", got)
	}
	if _, err := w.Reset(t.Context(), &gate.ResetRequest{Number: req.Number}); err != nil {
		t.Fatal(err)
	}
	if got := said(); got != gate.Allow {
		t.Errorf("reset, and the candidate says %v", got)
	}
}
