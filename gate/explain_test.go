package gate_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/limiter"
)

const explainedPolicy = `
limits:
  - {name: number, by: [number], limit: 3, window: 10m}
  - {name: client, by: [client], limit: 4, window: 10m, on_limit: challenge}
  - {name: stubborn, by: [client, endpoint], limit: 9, window: 20m, count_denied: true}
  - {name: country, by: [country], limit: 100, window: 1h, match: {country: [SG]}}
  - {name: watched, by: [number], limit: 1, window: 10m, mode: shadow}
delays: {otp: {free: 1, base: 30s, max: 10m, jitter: 0%}, transactional: {free: 1, base: 90s, jitter: 0%, count_denied: true}}
spend: [{name: day, by: [account], budget: 3.00, currency: USD, window: 24h, challenge_at: 50%}]
otp: {known_good: {limits: [{name: number, by: [number], limit: 5, window: 10m, on_limit: challenge}]}}
lists: {block: [TH], allow: ["+6581111111"], test_numbers: ["+6599999*"]}
numbers: {countries: {block: [VN]}}`

type explained struct {
	*fixture
	engine *detect.Engine
}

func openExplained(t *rapid.T, outer *testing.T) *explained {
	store, err := limiter.Open(limiter.Options{Size: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := detect.New(detect.Options{Size: detect.MinSize, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	cost, err := prices.Parse("prices.csv", []byte("prefix,price,currency\n65,0.05,USD\n84,0.10,USD\n66,0.10,USD\n998,0.20,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	live, err := lists.Open(outer.TempDir(), make([]byte, gate.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	e := &explained{fixture: &fixture{clock: &now{t: time.Unix(1_800_000_000, 0)}, store: store}, engine: engine}
	e.Gate, err = gate.New(outer.Context(), gate.Options{Policy: parse(outer, explainedPolicy), Store: store, Lists: live, Detect: engine, Prices: cost,
		Clock: e.clock.read, Secret: make([]byte, gate.SecretSize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); live.Close(); engine.Close(); store.Close() })
	return e
}

// Explain changes nothing: of two gates with the same traffic the one that is asked to explain every send answers the same, and
// says before each check what it is going to answer.
func TestExplain_changesNothing(t *testing.T) {
	kinds := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		quiet, asked := openExplained(rt, t), openExplained(rt, t)
		var ids [2][]string
		for i := range 30 {
			step := time.Duration(rapid.IntRange(0, 90).Draw(rt, "seconds")) * time.Second
			quiet.clock.add(step)
			asked.clock.add(step)
			if len(ids[0]) > 0 && rapid.IntRange(0, 4).Draw(rt, "report") == 0 {
				at := rapid.IntRange(0, len(ids[0])-1).Draw(rt, "of")
				what := rapid.SampledFrom([]gate.Outcome{gate.Verified, gate.NotSent, gate.Failed}).Draw(rt, "outcome")
				a, errA := quiet.Report(t.Context(), &gate.Report{CheckID: ids[0][at], Outcome: what, Account: "acme"})
				b, errB := asked.Report(t.Context(), &gate.Report{CheckID: ids[1][at], Outcome: what, Account: "acme"})
				if a != b || (errA == nil) != (errB == nil) {
					rt.Fatalf("outcome %d: %v %v, and %v %v where explained", i, a, errA, b, errB)
				}
			}
			req := gate.Request{
				Number:        rapid.SampledFrom([]string{"+6581234567", "+6581234568", "+6581111111", "+66812345678", "+84912345678", "+998901234567", "+6599999123", "+6581234569", "+6581234570", "+6581234571"}).Draw(rt, "number"),
				ClientAddress: rapid.SampledFrom([]string{"203.0.113.7", "203.0.113.7", "203.0.113.8", "2001:db8::1", ""}).Draw(rt, "client"),
				Endpoint:      rapid.SampledFrom([]string{"", "login"}).Draw(rt, "endpoint"),
				Purpose:       rapid.SampledFrom([]string{"otp", "otp", "transactional"}).Draw(rt, "purpose"),
				Cost:          rapid.SampledFrom([]int64{1, 1, 2}).Draw(rt, "cost"), Account: "acme",
				Caller: gate.Caller{Trusted: true}, ChallengePassed: rapid.IntRange(0, 3).Draw(rt, "passed") == 0,
			}
			var before []byte
			if i%30 == 0 {
				before = snapshot(rt, asked.engine)
			}
			said, err := asked.Explain(t.Context(), &req)
			if err != nil {
				rt.Fatal(err)
			}
			again, err := asked.Explain(t.Context(), &req)
			if err != nil || !reflect.DeepEqual(said, again) {
				rt.Fatalf("asked twice: %+v and %+v, %v", said, again, err)
			}
			if i%30 == 0 && !bytes.Equal(before, snapshot(rt, asked.engine)) {
				rt.Fatal("detection knows more than before")
			}
			a, errA := quiet.Check(t.Context(), &req)
			b, errB := asked.Check(t.Context(), &req)
			if errA != nil || errB != nil {
				rt.Fatal(errA, errB)
			}
			if a.Kind == gate.Allow {
				ids[0], ids[1] = append(ids[0], a.CheckID), append(ids[1], b.CheckID)
			}
			a.CheckID, b.CheckID = "", ""
			if !reflect.DeepEqual(a, b) {
				rt.Fatalf("check %d: %+v, and %+v where explained", i, a, b)
			}
			kinds[b.Reason]++
			if req.Purpose == "transactional" { // refused ones make the wait longer
				b.RetryAfter, said.Verdict.RetryAfter = 0, 0
			}
			if !reflect.DeepEqual(said.Verdict, b) {
				rt.Fatalf("check %d of %+v:\nexplained %+v\nanswered  %+v", i, req, said.Verdict, b)
			}
			agree(rt, said)
		}
	})
	for _, reason := range []string{"", "limit:number", "limit:client", "limit:stubborn", "delay:otp", "delay:transactional", "spend:day", "list:block", "list:allow", "list:test", "number:country"} {
		if kinds[reason] == 0 {
			t.Errorf("no check was answered with %q: the test shows less than it says; %v", reason, kinds)
		}
	}
}

func snapshot(t *rapid.T, e *detect.Engine) []byte {
	var b bytes.Buffer
	if err := e.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// agree says that the parts of an explanation tell the same story as its verdict.
func agree(t *rapid.T, e *gate.Explanation) {
	deciding := ""
	for _, s := range e.Steps {
		if s.Result == "decides" {
			deciding += s.Name
		}
	}
	refusing, decides := 0, 0
	for _, r := range e.Rules {
		if r.Applies && r.Mode == "enforce" && r.Verdict != gate.Allow {
			refusing++
		}
		if r.Decides {
			decides++
			if r.Verdict != e.Verdict.Kind && !(r.Verdict == gate.Challenge && e.Verdict.Kind == gate.Deny) {
				t.Fatalf("%s decides and says %v, the verdict is %+v", r.Name, r.Verdict, e.Verdict)
			}
		}
	}
	switch {
	case e.Verdict.Kind != gate.Allow && deciding == "", decides > 1:
		t.Fatalf("%v decides %+v, %d rules", deciding, e.Verdict, decides)
	case deciding == "delays_and_limits" && (refusing == 0 || decides != 1):
		t.Fatalf("%+v, and no rule refuses: %+v", e.Verdict, e.Rules)
	case e.Verdict.Kind == gate.Allow && deciding == "" && refusing > 0:
		t.Fatalf("allowed, and rules refuse: %+v", e.Rules)
	}
	if text := fmt.Sprintf("%+v", e); bytes.Contains([]byte(text), []byte("81234567")) {
		t.Fatalf("the number is told: %s", text)
	}
}
