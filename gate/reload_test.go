package gate_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Limits are changed at random between checks. A send passes exactly where fewer are held than the limit in force allows, each for as long
// as the window was when it was let through: raising takes effect at once, lowering frees nothing, and a rule that nobody touched
// counts as if nothing had been loaded.
func TestSetPolicy_keepsWhatWasCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := func(n int, window time.Duration) string {
			return fmt.Sprintf("limits: [{name: changed, by: [number], limit: %d, window: %s}, {name: kept, by: [client], limit: 3, window: 40s}]", n, window)
		}
		draw := func() (int, time.Duration) {
			return rapid.IntRange(1, 5).Draw(rt, "limit"), time.Duration(rapid.SampledFrom([]int{10, 30, 60}).Draw(rt, "window")) * time.Second
		}
		n, window := draw()
		f := open(t, text(n, window))
		held := map[string][]time.Time{} // by key: when each ends
		live := func(key string) int {
			held[key] = slices.DeleteFunc(held[key], func(end time.Time) bool { return !end.After(f.clock.read()) })
			return len(held[key])
		}
		for range 60 {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				f.clock.add(time.Duration(rapid.IntRange(1, 20).Draw(rt, "seconds")) * time.Second)
			case 1:
				n, window = draw()
				if err := f.SetPolicy(t.Context(), parse(t, text(n, window))); err != nil {
					rt.Fatal(err)
				}
			default:
				number := rapid.SampledFrom([]string{"+6581234567", "+6581234568"}).Draw(rt, "number")
				client := rapid.SampledFrom([]string{"203.0.113.7", "203.0.113.8", "203.0.113.9"}).Draw(rt, "client")
				want := ""
				switch {
				case live(number) >= n:
					want = "limit:changed"
				case live(client) >= 3:
					want = "limit:kept"
				}
				v := f.check(t, gate.Request{Number: number, ClientAddress: client, Cost: 1})
				if (v.Kind == gate.Allow) != (want == "") {
					rt.Fatalf("%d of %d in %s are held for the number and %d of 3 for the client: %+v", live(number), n, window, live(client), v)
				}
				if v.Kind == gate.Allow {
					now := f.clock.read()
					held[number], held[client] = append(held[number], now.Add(window)), append(held[client], now.Add(40*time.Second))
				}
			}
		}
	})
}

// reloading is one of two policies that differ in all that a check reads: each verdict says by which it was judged, and must be all of
// one of them.
func reloading(i int) string {
	return []string{`
client_address: {header: x-forwarded-for, missing_client: deny}
limits: [{name: roof, by: [number], limit: 60, window: 1h}, {name: large, by: [client], limit: 1000001, window: 1s}]
lists: {block: [TH, 203.0.113.66]}
numbers: {countries: {block: [VN]}}
detect: {level: "off"}`, `
client_address: {header: x-real-client, missing_client: allow}
limits: [{name: roof, by: [number], limit: 61, window: 1h}, {name: large, by: [client], limit: 1000002, window: 1s}]
lists: {block: [MY, 203.0.113.77]}
numbers: {countries: {block: [ID]}}
detect: {level: "off"}`}[i]
}

// A thousand reloads, with bad policies in between, while checks go on: none fails, none is judged by two policies.
func TestSetPolicy_aThousandUnderLoad(t *testing.T) {
	both := [2]*policy.Policy{parse(t, reloading(0)), parse(t, reloading(1))}
	broken := parse(t, reloading(0)+"\nspend: [{name: day, by: [account], budget: 1.00, currency: USD, window: 24h}]") // there are no prices
	store, err := limiter.Open(limiter.Options{Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	clock := &now{t: time.Unix(1_800_000_000, 0)}
	g, err := gate.New(t.Context(), gate.Options{Policy: both[0], Store: store, Clock: clock.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	asks := []struct {
		number string
		want   [2]string // reason by policy
	}{
		{"+66812345678", [2]string{"list:block", ""}}, {"+60123456789", [2]string{"", "list:block"}},
		{"+84912345678", [2]string{"number:country", ""}}, {"+6281234567890", [2]string{"", "number:country"}},
		{"proxied", [2]string{"list:block", "list:block"}}, // each reads the address that it blocks from its own header
		{"nobody", [2]string{"client:missing", ""}},
	}
	var checks, unique atomic.Int64
	request := func(number string) *gate.Request {
		req := &gate.Request{Number: number, ClientAddress: "203.0.113.7", Cost: 1}
		switch number {
		case "proxied":
			req.Number, req.ClientAddress = "+6581234567", ""
			req.By = g.Snapshot()
			req.Forwarded = &gate.Forwarded{XForwardedFor: []string{"203.0.113.66"}, Custom: []string{"203.0.113.66"}}
			if req.By.ClientHeader() == "x-real-client" {
				req.Forwarded = &gate.Forwarded{Custom: []string{"203.0.113.77"}}
			}
		case "nobody":
			req.Number, req.ClientAddress = "+6581234568", ""
		}
		if number != "proxied" { // fresh, so that no limit is reached
			req.Number = fmt.Sprintf("%s%06d", req.Number[:len(req.Number)-6], unique.Add(1)%1e6)
		}
		return req
	}
	judge := func(of string, want [2]string, v *gate.Verdict, err error) string {
		checks.Add(1)
		if err != nil {
			return err.Error()
		}
		for i, p := range both {
			if p.Version != v.PolicyVersion {
				continue
			}
			if v.Reason != want[i] || v.Kind == gate.Allow && v.Rule == "roof" && v.Limit != int64(60+i) || v.Kind == gate.Allow && v.Rule == "large" && v.Limit != int64(1000001+i) {
				return fmt.Sprintf("%s by policy %d: %+v", of, i, *v)
			}
			return ""
		}
		return "judged by a policy that is neither: " + v.PolicyVersion
	}
	done := make(chan struct{})
	wrong := make(chan string, 8)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				a := asks[i%len(asks)]
				v, err := g.Check(t.Context(), request(a.number))
				text := judge(a.number, a.want, &v, err)
				if i%7 == 0 && text == "" { // a batch is one decision, by one policy
					all := g.CheckAll(t.Context(), []*gate.Request{request("+6582000000"), request("+6583000000"), request("+6584000000")})
					for j := range all {
						if text == "" {
							text = judge("batch", [2]string{}, &all[j].Verdict, all[j].Err)
						}
						if all[j].Verdict.PolicyVersion != all[0].Verdict.PolicyVersion {
							text = "a batch met two policies"
						}
					}
				}
				if text != "" {
					select {
					case wrong <- text:
					default:
					}
					return
				}
			}
		})
	}
	refused := 0
	for i := range 1000 {
		seen := checks.Load()
		if err := g.SetPolicy(t.Context(), both[i%2]); err != nil {
			t.Errorf("reload %d: %v", i, err)
			break
		}
		if i%10 == 0 {
			if err := g.SetPolicy(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "needs prices") {
				t.Errorf("reload %d of a policy that is wrong: %v", i, err)
			}
			refused++
		}
		for len(wrong) == 0 && checks.Load() < seen+3 { // some meet each policy
		}
		clock.add(time.Millisecond)
	}
	close(done)
	wg.Wait()
	close(wrong)
	for text := range wrong {
		t.Error(text)
	}
	t.Logf("%d checks during 1,000 reloads and %d that were refused", checks.Load(), refused)
}
