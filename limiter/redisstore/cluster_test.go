package redisstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/limitertest"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

type cluster struct{ nodes []*server }

// startCluster starts so many primaries that divide the slots.
func startCluster(t testing.TB, primaries int) *cluster {
	t.Helper()
	c := &cluster{}
	for range primaries {
		c.nodes = append(c.nodes, startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "15000", "--cluster-require-full-coverage", "no"))
	}
	for i, n := range c.nodes {
		from, to := 16384*i/primaries, 16384*(i+1)/primaries-1
		for _, cmd := range [][]string{
			{"CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(from), fmt.Sprint(to)},
			{"CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i + 1)},
			{"CLUSTER", "MEET", "127.0.0.1", c.nodes[0].port()},
		} {
			if err := n.do(cmd...).Error(); err != nil {
				t.Fatalf("%v: %v", cmd, err)
			}
		}
	}
	for range 1000 {
		ready := 0
		for _, n := range c.nodes {
			info, _ := n.do("CLUSTER", "INFO").ToString()
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", primaries)) && strings.Contains(info, "cluster_slots_assigned:16384") {
				ready++
			}
		}
		if ready == primaries {
			return c
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the cluster does not come up")
	return nil
}

func (c *cluster) addrs() (addrs []string) {
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

// TestCluster is the suite on three primaries, without linearizability over two keys: there a check may be denied for a claim that
// another is about to give back.
func TestCluster(t *testing.T) {
	c := startCluster(t, 3)
	limitertest.Suite{
		Open: func(t *testing.T) limiter.Store {
			if strings.HasSuffix(t.Name(), "Linearizable/two_keys_of_one_rule") {
				t.Skip("two keys lie in two slots")
			}
			if strings.HasSuffix(t.Name(), "/History") {
				t.Skip("below, with fewer goroutines: three servers share the cores of the test")
			}
			return open(t, byReadings(c.addrs()...))
		},
		Steps: 0.005,
	}.Run(t)
	t.Run("history", func(t *testing.T) {
		s := open(t, byReadings(c.addrs()...))
		if (limitertest.History{Goroutines: 20, For: limitertest.Torture(t, time.Second), Keys: 2000}).Run(t, s) == 0 {
			t.Error("nothing was admitted")
		}
		t.Logf("%+v", s.Faults())
	})
}

// TestCluster_tooStrict measures how often a check is denied for a claim that is given back: checks of two keys in different
// slots, of which one is full.
func TestCluster_tooStrict(t *testing.T) {
	c := startCluster(t, 3)
	s := open(t, redisstore.Options{Addrs: c.addrs(), Near: -1, Timeout: 10 * time.Second})
	rules := define(t, s, limiter.Limit{Name: "roomy", Group: "a", N: 3, Window: time.Hour}, limiter.Limit{Name: "full", Group: "b", N: 1, Window: time.Hour})
	full := s.Key([]byte("full"))
	take(t, s, time.Now(), limiter.Charge{Rule: rules[1], Key: full, Cost: 1})
	// On each key three checks would be admitted, while others that will be denied claim and give back.
	var strict, checks, admitted atomic.Int64
	var longest atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		rnd := rand.New(rand.NewPCG(uint64(g), 5))
		wg.Go(func() {
			for i := range 150 {
				k := s.Key(fmt.Append(nil, "roomy", i/2))
				charges := []limiter.Charge{{Rule: rules[0], Key: k, Cost: 1}, {Rule: rules[1], Key: full, Cost: 1}}
				if rnd.IntN(4) == 0 && g < 3 {
					charges = charges[:1]
				}
				begin := time.Now()
				for {
					checks.Add(1)
					d := take(t, s, time.Now(), charges...)
					if d.Allowed {
						admitted.Add(1)
					}
					if d.Allowed || len(charges) == 2 || peekHeld(t, s, charges[0]) == 3 {
						break
					}
					strict.Add(1) // it was denied, and at once after there is room
				}
				if w := time.Since(begin).Microseconds(); len(charges) == 1 && w > longest.Load() {
					longest.Store(w)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d checks, %d admitted, %d denied for a claim that was given back; the longest such wait %d us; %+v", checks.Load(), admitted.Load(), strict.Load(), longest.Load(), s.Faults())
	for i := range 75 {
		c := limiter.Charge{Rule: rules[0], Key: s.Key(fmt.Append(nil, "roomy", i)), Cost: 1}
		if u, err := s.Peek(context.Background(), time.Now(), c); err != nil || u.Held > 3 {
			t.Fatalf("key %d holds %d of 3: %v", i, u.Held, err)
		}
	}
	var held int64
	for i := range 75 {
		held += peekHeld(t, s, limiter.Charge{Rule: rules[0], Key: s.Key(fmt.Append(nil, "roomy", i)), Cost: 1})
	}
	if held != admitted.Load() {
		t.Errorf("%d units are held for %d admitted: claims were not given back", held, admitted.Load())
	}
}

func peekHeld(t testing.TB, s limiter.Store, c limiter.Charge) int64 {
	u, err := s.Peek(context.Background(), time.Now(), c)
	if err != nil {
		t.Error(err)
	}
	return u.Held
}
