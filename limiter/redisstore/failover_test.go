package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// startSentinel starts a primary with a replica that follows it over a proxy, and a Sentinel that watches them.
func startSentinel(t testing.TB) (primary *server, follows *proxy, sentinel *server) {
	t.Helper()
	primary = startServer(t)
	follows = startProxy(t, primary.addr)
	_, port, _ := net.SplitHostPort(follows.addr())
	replica := startServer(t, "--replicaof", "127.0.0.1 "+port, "--repl-diskless-sync-delay", "0")
	eventually(t, "the replica follows", func() bool {
		info, _ := replica.do("INFO", "replication").ToString()
		return strings.Contains(info, "master_link_status:up")
	})
	sentinel = watch(t, primary)
	eventually(t, "the sentinel knows the replica", func() bool {
		all, _ := sentinel.do("SENTINEL", "REPLICAS", "gate").ToArray()
		return len(all) == 1
	})
	return primary, follows, sentinel
}

// watch starts a Sentinel that watches a primary.
func watch(t testing.TB, primary *server, more ...string) *server {
	t.Helper()
	s := &server{t: t, program: program(t, "redis-server"), addr: "127.0.0.1:" + freePort(t), dir: t.TempDir()}
	s.conf = filepath.Join(s.dir, "sentinel.conf")
	conf := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor gate 127.0.0.1 %s 1\nsentinel down-after-milliseconds gate 300\nsentinel failover-timeout gate 2000\n%s\n",
		s.port(), s.dir, primary.port(), strings.Join(more, "\n"))
	if err := os.WriteFile(s.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// TestSentinel_passwords: the server and the Sentinels have passwords of their own, or only one of them has, and are told no other's.
func TestSentinel_passwords(t *testing.T) {
	password := func(p string) func() (string, error) {
		if p == "" {
			return nil
		}
		return func() (string, error) { return p, nil }
	}
	for _, c := range []struct{ name, server, user, sentinel string }{
		{"both", "one", "", "two"}, {"the server", "one", "", ""}, {"the sentinel", "", "", "two"}, {"a user of the sentinel", "one", "gate", "two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var args, conf []string
			if c.server != "" {
				args, conf = []string{"--requirepass", c.server}, append(conf, "sentinel auth-pass gate "+c.server)
			}
			if c.user != "" {
				conf = append(conf, "user "+c.user+" on >"+c.sentinel+" +@all", "user default off")
			} else if c.sentinel != "" {
				conf = append(conf, "requirepass "+c.sentinel)
			}
			sentinel := watch(t, startServer(t, args...), conf...)
			s := open(t, redisstore.Options{Addrs: []string{sentinel.addr}, Sentinel: "gate", Timeout: 5 * time.Second,
				Password: password(c.server), SentinelUsername: c.user, SentinelPassword: password(c.sentinel)})
			charge := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
			if d := take(t, s, time.Now(), charge); !d.Allowed {
				t.Errorf("%+v", d)
			}
		})
	}
	primary := startServer(t, "--requirepass", "one")
	sentinel := watch(t, primary, "sentinel auth-pass gate one", "requirepass two")
	if s, err := redisstore.Open(redisstore.Options{Addrs: []string{sentinel.addr}, Sentinel: "gate", Secret: secret(), Password: password("one"), SentinelPassword: password("wrong")}); err == nil {
		s.Close()
		t.Error("a wrong password for the Sentinel was taken")
	}
}

// TestFailover kills a primary under load. The store goes on with the promoted replica; what the primary had answered and not
// yet told the replica is lost, which is measured.
func TestFailover(t *testing.T) {
	primary, follows, sentinel := startSentinel(t)
	s := open(t, redisstore.Options{Addrs: []string{sentinel.addr}, Sentinel: "gate", Near: -1, Timeout: 150 * time.Millisecond})
	rule := define(t, s, limiter.Limit{Name: "once", Group: "number", N: 1, Window: time.Hour})[0]
	type grant struct {
		key limiter.Key
		at  time.Time
	}
	var mu sync.Mutex
	var grants []grant
	failed, slowest := 0, time.Duration(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				k := s.Key(fmt.Append(nil, g, " ", i))
				begin := time.Now()
				d, err := s.Take(context.Background(), begin, []limiter.Charge{{Rule: rule, Key: k, Cost: 1}})
				took := time.Since(begin)
				mu.Lock()
				slowest = max(slowest, took)
				if err != nil {
					failed++
				} else if d.Allowed {
					grants = append(grants, grant{k, d.At})
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	follows.hole.Store(true) // so that there is something to lose
	time.Sleep(100 * time.Millisecond)
	primary.kill()
	killed := time.Now()
	eventually(t, "admits on the new primary", func() bool {
		d, err := s.Take(context.Background(), time.Now(), []limiter.Charge{{Rule: rule, Key: s.Key(fmt.Append(nil, "after", time.Now())), Cost: 1}})
		return err == nil && d.Allowed
	})
	away := time.Since(killed)
	close(stop)
	wg.Wait()
	lost, longest := 0, time.Duration(0)
	for _, g := range grants {
		var u limiter.Usage
		eventually(t, "peek", func() bool {
			var err error
			u, err = s.Peek(context.Background(), time.Now(), limiter.Charge{Rule: rule, Key: g.key, Cost: 1})
			return err == nil
		})
		if u.Held == 0 {
			lost++
			longest = max(longest, killed.Sub(g.at))
		}
	}
	t.Logf("%d admitted, %d failed, %d lost from the last %v before the kill; away for %v; slowest %v; %+v", len(grants), failed, lost, longest, away, slowest, s.Faults())
	if lost == 0 {
		t.Error("nothing is lost: this measures nothing")
	}
	if longest > time.Second {
		t.Errorf("a charge of %v before the kill is lost", longest)
	}
	if slowest > late {
		t.Errorf("an answer took %v", slowest)
	}
}

// TestCluster_primaryKilled: while one primary is away only checks of its slots fail, and they do so at once.
func TestCluster_primaryKilled(t *testing.T) {
	c := startCluster(t, 3)
	s := open(t, redisstore.Options{Addrs: c.addrs(), Near: -1, Timeout: 500 * time.Millisecond})
	rule := define(t, s, limiter.Limit{Name: "many", Group: "number", N: 1 << 30, Window: time.Hour})[0]
	charges := make([]limiter.Charge, 60)
	works := func(i int) bool {
		_, err := s.Take(context.Background(), time.Now(), charges[i:i+1])
		return err == nil
	}
	for i := range charges {
		charges[i] = limiter.Charge{Rule: rule, Key: s.Key([]byte{byte(i)}), Cost: 1}
		if !works(i) {
			t.Fatal("a check fails on a whole cluster")
		}
	}
	c.nodes[1].kill()
	away := map[int]bool{}
	for range 40 {
		for i := range charges {
			if !works(i) {
				away[i] = true
			}
		}
	}
	before := s.Faults()
	for i := range charges {
		if works(i) == away[i] {
			t.Errorf("key %d: away %v", i, away[i])
		}
	}
	after := s.Faults()
	t.Logf("%d of %d keys away; %+v", len(away), len(charges), after)
	if len(away) < 10 || len(away) > 30 {
		t.Errorf("%d of %d keys are away with one of three primaries", len(away), len(charges))
	}
	// Where slots of two primaries are neighbours, those that answer keep commands going to those that do not.
	if refused := after.Refused - before.Refused; refused < int64(len(away))-6 {
		t.Errorf("of %d keys that are away only %d were refused at once", len(away), refused)
	}
	c.nodes[1].start()
	for i := range charges {
		eventually(t, "works again", func() bool { return works(i) })
	}
}
