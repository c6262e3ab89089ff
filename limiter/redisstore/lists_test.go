package redisstore_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/shared"
)

// books are lists of several sidecars on one server.
type books struct {
	t     testing.TB
	addr  string
	dirs  []string
	store []*lists.Store
	tell  []*shared.Lists
	now   time.Time
}

func (b *books) start(i int) {
	b.t.Helper()
	var err error
	if b.store[i], err = lists.Open(b.dirs[i], secret()); err != nil {
		b.t.Fatal(err)
	}
	m := open(b.t, redisstore.Options{Addrs: []string{b.addr}, Timeout: 5 * time.Second}).Map("lists")
	b.tell[i] = shared.NewLists(m, b.store[i], slog.New(slog.DiscardHandler))
}

func newBooks(t testing.TB, addr string, n int) *books {
	b := &books{t: t, addr: addr, store: make([]*lists.Store, n), tell: make([]*shared.Lists, n), now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	for i := range n {
		b.dirs = append(b.dirs, t.TempDir())
		b.start(i)
	}
	t.Cleanup(func() {
		for _, s := range b.store {
			s.Close()
		}
	})
	return b
}

// change adds, or with a minus removes, targets of the block list.
func (b *books) change(i int, targets ...string) {
	b.t.Helper()
	b.now = b.now.Add(time.Second)
	for _, text := range targets {
		target, err := lists.ParseTarget(strings.TrimPrefix(text, "-"))
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.HasPrefix(text, "-") {
			_, _, err = b.store[i].Remove(b.now, lists.Block, target, "test", "me")
		} else {
			_, err = b.store[i].Add(b.now, lists.Entry{List: lists.Block, Target: target, Reason: fmt.Sprint("by ", i), Author: "me"})
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *books) sync(order ...int) {
	b.t.Helper()
	for _, i := range order {
		if err := b.tell[i].Sync(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// have says that all hold the same entries.
func (b *books) have(want ...string) {
	b.t.Helper()
	for i, s := range b.store {
		n := 0
		for e := range s.Snapshot().All() {
			n++
			if len(want) < n {
				b.t.Errorf("sidecar %d has %s", i, e.Target)
			}
		}
		for _, text := range want {
			text, by, _ := strings.Cut(text, " ")
			target, _ := lists.ParseTarget(text)
			if e, ok := s.Snapshot().Find(lists.Block, target); !ok || by != "" && e.Reason != by {
				b.t.Errorf("sidecar %d: %s: %v %q, want %q", i, text, ok, e.Reason, by)
			}
		}
	}
}

// TestLists: what is put on a list by hand, or taken off it, at one sidecar is known to all, whatever else happens.
func TestLists(t *testing.T) {
	r := startServer(t)
	b := newBooks(t, r.addr, 3)
	b.sync(0, 1, 2)
	b.change(0, "+6581234567", "+6591*", "ID")
	b.sync(0, 1, 2)
	b.have("+6581234567 by 0", "+6591*", "ID")
	if names, _ := r.do("HKEYS", "sg1{lists}map").AsStrSlice(); strings.Contains(fmt.Sprint(names), "1234567") {
		t.Errorf("a number is on the server: %v", names)
	}

	b.change(1, "-+6581234567")
	b.change(2, "203.0.113.0/24")
	b.sync(1, 2, 0, 1)
	b.have("+6591*", "ID", "203.0.113.0/24 by 2")

	// Two at once: all agree in the end, and one of them is right.
	b.change(0, "-ID")
	b.change(1, "ID")
	b.sync(0, 1, 2, 0, 1)
	b.have("+6591*", "ID by 1", "203.0.113.0/24")

	// A clock that is far behind changes what it knows of all the same.
	b.now = b.now.Add(-time.Hour)
	b.change(2, "-ID")
	b.sync(2, 0, 1)
	b.have("+6591*", "203.0.113.0/24")

	// The server has lost it all. Whoever comes first fills it again, also with what is no more.
	r.do("FLUSHALL")
	b.change(0, "-+6591*")
	b.sync(2, 1, 0, 1, 2)
	b.have("203.0.113.0/24")

	// A restart with what is on the disk.
	b.store[1].Close()
	b.change(0, "-203.0.113.0/24", "MY")
	b.sync(0)
	b.start(1)
	b.sync(1, 2)
	b.have("MY")
}

// TestLists_many: an import.
func TestLists_many(t *testing.T) {
	r := startServer(t)
	b := newBooks(t, r.addr, 2)
	var all []string
	for i := range 1700 {
		all = append(all, fmt.Sprintf("+65%d*", 1000+i))
	}
	var entries []lists.Entry
	for _, text := range all {
		target, err := lists.ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, lists.Entry{List: lists.Block, Target: target, Author: "me"})
	}
	if _, err := b.store[0].Add(b.now, entries...); err != nil {
		t.Fatal(err)
	}
	b.sync(0, 1)
	b.have(all...)
}
