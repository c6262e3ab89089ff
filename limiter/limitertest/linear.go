package limitertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sendgate/sendgate/limiter"
)

// testLinearizable runs thousands of small contended histories: what every goroutine saw can be put in one order in which each
// check took all or nothing by what was held at that moment. A denial that nothing explains fails as an admission too many does.
func testLinearizable(t *testing.T, s Suite) {
	for _, shape := range []struct {
		name  string
		rules []int // of linearLimits
		keys  int
		cost  int64
	}{
		{"one rule, cost 1", []int{0}, 1, 1},
		{"one rule, cost 1 to 3", []int{1}, 1, 3},
		{"two rules", []int{0, 1}, 1, 2},
		{"two groups", []int{1, 2}, 1, 2},
		{"two keys of one rule", []int{0}, 2, 1},
		{"delay and permits", []int{3, 1}, 1, 1},
		{"buckets", []int{4}, 1, 2},
		{"buckets and permits", []int{4, 1}, 1, 2},
		{"stripes", []int{5}, 1, 2},
		{"stripes and permits", []int{5, 1}, 1, 2},
		{"all", []int{0, 1, 2, 3, 4, 5}, 1, 2},
	} {
		t.Run(shape.name, func(t *testing.T) {
			c := newCaller(t, s)
			all := c.define(linearLimits...)
			rules := make([]*limiter.Rule, len(shape.rules))
			for i, r := range shape.rules {
				rules[i] = all[r]
			}
			discarded, calls, contended := 0, 0, 0
			histories := s.steps(2000)
			for i := range histories {
				waits := c.s.Stats().LookAgain
				h := linearHistory(c, uint64(i), rules, shape.rules, shape.keys, shape.cost)
				// The operating system may stop a goroutine for so long that others count its claim as held, which they are
				// allowed to. Then they have looked again very often.
				if c.s.Stats().LookAgain-waits > 10_000 {
					discarded++
					continue
				}
				calls += len(h)
				contended += overlapping(h)
				if res := porcupine.CheckOperationsTimeout(linearModel.ToModel(), h, 10*time.Second); res == porcupine.Illegal {
					slices.SortFunc(h, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
					for _, op := range h {
						t.Logf("%d: %d-%d %+v: %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
					}
					t.Fatalf("history %d is not linearizable", i)
				}
			}
			s.settled(t, c.s)
			t.Logf("%d histories, %d of %d calls overlap another, %d not judged", histories, contended, calls, discarded)
		})
	}
}

const tick = time.Millisecond

// linearLimits are what the model below knows by index.
var linearLimits = []limiter.Limit{
	{Name: "one", Group: "number", N: 1, Window: 4 * tick},
	{Name: "three", Group: "number", N: 3, Window: 6 * tick},
	{Name: "client", Group: "client", N: 2, Window: 5 * tick},
	{Name: "delay", Group: "number", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 1, Base: 2 * tick, Factor: 2, Max: 8 * tick, ForgetAfter: time.Hour}},
	{Name: "buckets", Group: "account", N: 90, Window: 24 * time.Hour},
	{Name: "stripes", Group: "account", N: 90, Window: 24 * time.Hour, Stripes: 3},
}

// linearUnit is what a cost of 1 is in buckets, so that three fit.
const linearUnit = 30

// linearInput is a check or a refund of one unit, over rules and keys by index.
type linearInput struct {
	refund bool
	at     int64 // in ticks; for a check the reading
	costs  [2][6]int8
}

type linearOutput struct {
	allowed bool
	at      int64
}

// linearState is what one or two keys hold: when the words of the three rules of permits end, sorted; how often and until when
// the delay; what the buckets sum to.
type linearState [2]struct {
	words [3][3]int64
	count int64
	until int64
	sum   [2]int64
}

var linearModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{linearState{}} },
	Step: func(state, input, output any) []any {
		s, in, out := state.(linearState), input.(linearInput), output.(linearOutput)
		if in.refund {
			return []any{linearRefund(s, in)}
		}
		if !out.allowed {
			if linearFits(s, in, out.at) {
				return nil
			}
			return []any{s}
		}
		if !linearFits(s, in, out.at) {
			return nil
		}
		return linearTake(s, in, out.at)
	},
}

func linearFits(s linearState, in linearInput, at int64) bool {
	for k := range s {
		for r, cost := range in.costs[k] {
			switch {
			case cost == 0:
			case r < 3:
				free := int8(0)
				for _, end := range s[k].words[r][:linearLimits[r].N] {
					if end <= at {
						free++
					}
				}
				if free < cost {
					return false
				}
			case r == 3 && s[k].until > at:
				return false
			case r > 3 && s[k].sum[r-4]+int64(cost) > 3:
				return false
			}
		}
	}
	return true
}

// linearTake returns every state that a check may leave: which of the free words it takes is its own affair.
func linearTake(s linearState, in linearInput, at int64) []any {
	states := []linearState{s}
	for k := range s {
		for r, cost := range in.costs[k] {
			if cost == 0 {
				continue
			}
			var next []linearState
			for _, s := range states {
				switch {
				case r < 3:
					next = append(next, linearWords(s, k, r, 0, int(cost), at)...)
				case r == 3:
					s[k].count++
					s[k].until = at + linearWait(s[k].count)
					next = append(next, s)
				default:
					s[k].sum[r-4] += int64(cost)
					next = append(next, s)
				}
			}
			states = next
		}
	}
	var all []any
	for _, s := range states {
		for k := range s {
			for r := range s[k].words {
				slices.Sort(s[k].words[r][:linearLimits[r].N])
			}
		}
		if !slices.Contains(all, any(s)) {
			all = append(all, s)
		}
	}
	return all
}

func linearWords(s linearState, k, r, from, cost int, at int64) (states []linearState) {
	if cost == 0 {
		return []linearState{s}
	}
	for i := from; i < int(linearLimits[r].N); i++ {
		if s[k].words[r][i] <= at {
			t := s
			t[k].words[r][i] = at + int64(linearLimits[r].Window/tick)
			states = append(states, linearWords(t, k, r, i+1, cost-1, at)...)
		}
	}
	return states
}

func linearWait(n int64) int64 {
	return []int64{0, 0, 2, 4}[min(n, 3)] << max(0, min(n-3, 1))
}

func linearRefund(s linearState, in linearInput) linearState {
	for k := range s {
		for r, cost := range in.costs[k] {
			switch {
			case cost == 0:
			case r < 3:
				if i := slices.Index(s[k].words[r][:], in.at+int64(linearLimits[r].Window/tick)); i >= 0 {
					s[k].words[r][i] = in.at
					slices.Sort(s[k].words[r][:linearLimits[r].N])
				}
			case r == 3:
				if s[k].count > 0 && s[k].until == in.at+linearWait(s[k].count) {
					s[k].count--
					s[k].until = in.at
				}
			default:
				s[k].sum[r-4] -= int64(cost)
			}
		}
	}
	return s
}

// linearHistory lets some goroutines charge fresh keys at once and returns what they did and saw.
func linearHistory(c caller, seed uint64, rules []*limiter.Rule, index []int, keys int, maxCost int64) []porcupine.Operation {
	// Each history has its own hour of a day, well inside of a bucket, and its own keys.
	day := start.Truncate(24*time.Hour).AddDate(0, 0, int(seed)).Add(10 * time.Minute)
	var k [2]limiter.Key
	for i := range k {
		k[i] = c.key(fmt.Sprint("key ", seed, i))
	}
	var clock atomic.Int64
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	var arrived atomic.Int64
	// Readings that meet are less than a window apart: a claim that another check sees a window later has lapsed, and may be
	// answered all the same (by its own reading, which is what a window is judged by).
	const goroutines, phases, calls = 3, 3, 2
	for g := range goroutines {
		rnd := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			mine := make([]porcupine.Operation, 0, 8*calls*phases)
			for round := range calls * phases {
				if round%calls == 0 {
					for arrived.Add(1); arrived.Load() < int64(goroutines*(round/calls+1)); {
						runtime.Gosched()
					}
				}
				in := linearInput{at: int64(3*(round/calls)) + rnd.Int64N(3)}
				var charges []limiter.Charge
				for ki := range keys {
					for i, r := range rules {
						if rnd.IntN(4) == 0 && len(charges) > 0 {
							continue
						}
						cost := 1 + rnd.Int64N(maxCost)
						if l := r.Limit(); l.Kind == limiter.Delay {
							cost = 1
						} else if l.N <= limiter.MaxExact {
							cost = min(cost, l.N)
						}
						in.costs[ki][index[i]] = int8(cost)
						if index[i] > 3 {
							cost *= linearUnit
						}
						charges = append(charges, charge(r, k[ki], cost))
					}
				}
				rnd.Shuffle(len(charges), func(i, j int) { charges[i], charges[j] = charges[j], charges[i] })
				call := clock.Add(1)
				d, err := c.s.Take(context.Background(), day.Add(time.Duration(in.at)*tick), charges)
				ret := clock.Add(1)
				if err != nil {
					c.t.Errorf("Take: %v", err)
					return
				}
				out := linearOutput{allowed: d.Allowed, at: int64(d.At.Sub(day) / tick)}
				mine = append(mine, porcupine.Operation{ClientId: g, Input: in, Call: call, Output: out, Return: ret})
				if !d.Allowed || rnd.IntN(2) > 0 {
					continue
				}
				call = clock.Add(1)
				err = c.s.Refund(context.Background(), d.At, charges)
				ret = clock.Add(1)
				if err != nil {
					c.t.Errorf("Refund: %v", err)
					return
				}
				mine = append(mine, linearRefunds(g, in, out.at, call, ret)...)
			}
			mu.Lock()
			history = append(history, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return history
}

// linearRefunds is a refund as so many of one unit: giving back is not one step, and need not be.
func linearRefunds(client int, in linearInput, at, call, ret int64) (ops []porcupine.Operation) {
	for k := range in.costs {
		for r, cost := range in.costs[k] {
			for range cost {
				one := linearInput{refund: true, at: at}
				one.costs[k][r] = 1
				ops = append(ops, porcupine.Operation{ClientId: client, Input: one, Call: call, Output: linearOutput{}, Return: ret})
			}
		}
	}
	return ops
}

// overlapping counts the calls that overlap one of another client.
func overlapping(h []porcupine.Operation) (n int) {
	for _, a := range h {
		if slices.ContainsFunc(h, func(b porcupine.Operation) bool {
			return a.ClientId != b.ClientId && a.Call < b.Return && b.Call < a.Return
		}) {
			n++
		}
	}
	return n
}
