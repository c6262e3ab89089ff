package redisstore

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/limiter"
)

// near remembers which rules deny which keys, and until when, so that a key that is asked for again and again costs no round
// trip. It never allows. A denial ends early only if something writes to its key (a refund, a reset) or drops it; the server
// tells each connection that has read the key (client tracking), and a lost connection forgets all it learned.
//
// It is a table of so many places by hash; what comes later takes the place. A place goes from empty to seen (one denial), to
// learning (a second: the key is read again, tracked), to known. Every step is a CAS, so that news of a change that comes while
// it is learned wins.
type near struct {
	life   time.Duration
	places [1 << 14]atomic.Pointer[denial]
	busy   atomic.Int32
}

type denial struct {
	key   limiter.Key
	tag   [8]byte
	cost  int64
	known bool
	// Of one that is known, by Store.here:
	from, until time.Time
	remaining   int64
}

const (
	// nearShortest is the shortest wait that is worth learning.
	nearShortest = 5 * time.Millisecond
	// nearBusy is how many keys are learned at a time.
	nearBusy = 16
)

func (n *near) place(k limiter.Key, tag [8]byte) *atomic.Pointer[denial] {
	return &n.places[(k.Place^binary.BigEndian.Uint64(tag[:]))%uint64(len(n.places))]
}

func (d *denial) is(k limiter.Key, tag [8]byte) bool { return d != nil && d.key == k && d.tag == tag }

// denies answers by what is known: the charge that is denied longest.
func (n *near) denies(now time.Time, charges []limiter.Charge) (d limiter.Decision, ok bool) {
	if n == nil {
		return d, false
	}
	for i := range charges {
		c := &charges[i]
		r := body(c.Rule)
		k := n.place(c.Key, r.tag).Load()
		if !k.is(c.Key, r.tag) || !k.known || c.Cost < k.cost && r.kind == kindWindow || now.Before(k.from) || !now.Before(k.until) || now.Sub(k.from) > n.life {
			continue
		}
		if wait := k.until.Sub(now); wait > d.RetryAfter {
			d, ok = limiter.Decision{Binding: i, Remaining: k.remaining, RetryAfter: wait}, true
		}
	}
	return d, ok
}

// learn is told of a denial by the server.
func (n *near) learn(s *Store, now time.Time, d limiter.Decision, c *limiter.Charge) {
	r := body(c.Rule)
	if n == nil || r.insists || d.RetryAfter < nearShortest {
		return
	}
	p := n.place(c.Key, r.tag)
	seen := p.Load()
	if !seen.is(c.Key, r.tag) {
		p.CompareAndSwap(seen, &denial{key: c.Key, tag: r.tag})
		return
	}
	if seen.cost > 0 && !seen.known || n.busy.Load() >= nearBusy {
		return // it is being learned
	}
	cost := max(1, c.Cost)
	learning := &denial{key: c.Key, tag: r.tag, cost: cost}
	if !p.CompareAndSwap(seen, learning) {
		return
	}
	name, client := string(s.appendName(nil, c)), *s.client.Load()
	n.busy.Add(1)
	s.spawn(func() {
		defer n.busy.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeout)
		defer cancel()
		v, err := client.DoCache(ctx, client.B().Get().Key(name).Cache(), n.life).ToString()
		at := d.At.UnixMicro()
		known := &denial{key: learning.key, tag: learning.tag, cost: cost, known: true, from: now, remaining: d.Remaining}
		// It may have changed since it was denied.
		if until, ok := deniedUntil(r, v, cost, at); err == nil && ok {
			known.until = now.Add(time.Duration(until-at) * time.Microsecond)
			p.CompareAndSwap(learning, known)
			return
		}
		p.CompareAndSwap(learning, nil)
	})
}

// drop forgets a key.
func (n *near) drop(c *limiter.Charge) {
	if n != nil {
		n.dropName(c.Key, body(c.Rule).tag)
	}
}

func (n *near) dropName(k limiter.Key, tag [8]byte) {
	p := n.place(k, tag)
	if d := p.Load(); d.is(k, tag) {
		p.Store(nil)
	}
}

func (n *near) forget() {
	if n == nil {
		return
	}
	for i := range n.places {
		if n.places[i].Load() != nil {
			n.places[i].Store(nil)
		}
	}
}

// dropped is told by rueidis which keys changed; of none in particular when a connection was lost or the database flushed.
func (s *Store) dropped(names []rueidis.RedisMessage) {
	if names == nil {
		s.near.forget()
		return
	}
	for i := range names {
		name, err := names[i].ToString()
		if err != nil {
			continue
		}
		if k, tag, ok := s.parseName(name); ok {
			s.near.dropName(k, tag)
		}
	}
}

// deniedUntil reads a value as the script does: whether it denies cost at at, and when that ends.
func deniedUntil(r *rule, v string, cost, at int64) (until int64, denied bool) {
	if r.kind == kindDelay {
		if len(v) != 16 || v[0] != 3 {
			return 0, false
		}
		until = number(v[8:15])
		return until, until > at
	}
	size, units := 8, 1
	switch {
	case len(v) >= 9 && v[0] == 1:
		v = v[9:]
	case len(v) >= 14 && v[0] == 2:
		size, units = 13, 6
		v = v[14:]
	default:
		return 0, false
	}
	sum := int64(0)
	for e := v; len(e) >= size; e = e[size:] {
		if number(e[:7]) > at {
			sum += number(e[7 : 7+units])
		}
	}
	over := sum + cost - r.n
	for e := v; len(e) >= size && over > 0; e = e[size:] {
		if until = number(e[:7]); until > at {
			if over -= number(e[7 : 7+units]); over <= 0 {
				return until, true
			}
		}
	}
	return 0, false
}
