package redisstore

import (
	"context"
	"encoding/base64"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// group is the charges of one slot, by index.
type group struct {
	slot    uint16
	indices []int
	charges []limiter.Charge
}

// bySlot groups charges. Those of one key are always together.
func bySlot(charges []limiter.Charge) (groups []group) {
	var tag [22]byte
	for i := range charges {
		base64.RawURLEncoding.Encode(tag[:], keyBytes(charges[i].Key))
		slot := slotOf(string(tag[:]))
		g := slices.IndexFunc(groups, func(g group) bool { return g.slot == slot })
		if g < 0 {
			g = len(groups)
			groups = append(groups, group{slot: slot})
		}
		groups[g].indices = append(groups[g].indices, i)
		groups[g].charges = append(groups[g].charges, charges[i])
	}
	return groups
}

// slotOf is the slot of a hash tag: CRC-16/XMODEM modulo 16384, as the Cluster specification says.
func slotOf(tag string) uint16 {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

// settleTries is how often a check is made anew whose claims were made at different readings and ended before they could be moved
// to one: their windows are shorter than a round trip. Then it is denied for so many microseconds.
const (
	settleTries   = 3
	unsettledWait = 1000
)

// takeSlot takes charges of one slot in one round trip. The token is that of the check.
func (s *Store) takeSlot(ctx context.Context, at reading, charges []limiter.Charge, token string) (answer, error) {
	sent, r := time.Now(), s.newRide(at, charges)
	c := &call{rides: []*ride{r}, token: s.tokenName(r.keys, token)}
	reply, err := s.run(ctx, s.newTake(c), true)
	s.hand(c, reply, err)
	<-r.back
	a, err := r.answer, r.err
	s.gathering.idle.Put(r)
	if unanswered(err) {
		s.giveUpLater(at, charges, c.token, 0)
	}
	if err == nil && a.server > 0 {
		s.offset.learn(a.server, at.own, time.Since(sent))
	}
	return a, err
}

// takeSlots claims in all slots at once, and gives back what was claimed if one denies or fails.
func (s *Store) takeSlots(ctx context.Context, at reading, charges []limiter.Charge, groups []group) (answer, error) {
	token := s.token()
	for try := 0; ; try++ {
		answers, errs := make([]answer, len(groups)), make([]error, len(groups))
		inParallel(len(groups), func(i int) { answers[i], errs[i] = s.takeSlot(ctx, at, groups[i].charges, token) })
		a, same, err := combine(groups, answers, errs)
		if err == nil && a.allowed && (same || s.settle(ctx, groups, answers, a.at, token)) {
			return a, nil
		}
		s.faults.undone.Add(1)
		inParallel(len(groups), func(i int) {
			if errs[i] != nil || !answers[i].allowed {
				return
			}
			part := groups[i].charges
			name := s.tokenName(s.appendName(nil, &part[0]), token)
			if _, err := s.run(ctx, s.giveUp(at, part, name, 0), true); err != nil {
				s.giveUpLater(at, part, name, 0)
			}
		})
		switch {
		case err != nil || !a.allowed:
			return a, err
		case try == settleTries:
			s.faults.unsettled.Add(1)
			return answer{at: a.at, binding: max(0, a.binding), wait: unsettledWait}, nil
		}
		at, token = reading{lo: a.at, hi: a.at}, s.token()
	}
}

// settle moves claims to the latest reading that one of them was made at, because a key had seen a later one than the check's. A
// check has one reading: windows are judged by it, and a refund finds what was taken by it.
func (s *Store) settle(ctx context.Context, groups []group, answers []answer, at int64, token string) bool {
	var failed atomic.Bool
	inParallel(len(groups), func(i int) {
		if answers[i].at == at {
			return
		}
		from := reading{lo: answers[i].at, hi: answers[i].at}
		c := s.newCommand(head{op: opSettle, flag: firstTry, now: from, arg: at}, groups[i].charges, s.tokenName(s.appendName(nil, &groups[i].charges[0]), token))
		if b, err := s.run(ctx, c, false); err != nil || b != "\x01" {
			failed.Store(true)
		}
	})
	return !failed.Load()
}

// combine makes one answer of those of all slots; same says that they were given at one reading.
func combine(groups []group, answers []answer, errs []error) (all answer, same bool, err error) {
	all, same = answer{allowed: true, binding: -1}, true
	for i, a := range answers {
		if errs[i] != nil {
			return all, false, errs[i]
		}
		same = same && a.at == answers[0].at
		all.at = max(all.at, a.at)
		binding := a.binding
		if binding >= 0 {
			binding = groups[i].indices[binding]
		}
		switch {
		case !a.allowed && (all.allowed || a.wait > all.wait):
			all.allowed, all.binding, all.remaining, all.wait = false, binding, a.remaining, a.wait
		case a.allowed && all.allowed && binding >= 0 && (all.binding < 0 || a.remaining < all.remaining || a.remaining == all.remaining && binding < all.binding):
			all.binding, all.remaining = binding, a.remaining
		}
	}
	return all, same, nil
}

// eachSlot calls f with the charges of each slot, at once, and returns the first error.
func (s *Store) eachSlot(charges []limiter.Charge, f func([]limiter.Charge) error) error {
	if !s.cluster.Load() {
		return f(charges)
	}
	groups := bySlot(charges)
	errs := make([]error, len(groups))
	inParallel(len(groups), func(i int) { errs[i] = f(groups[i].charges) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func inParallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := 1; i < n; i++ {
		wg.Go(func() { f(i) })
	}
	f(0)
	wg.Wait()
}

// offset is how far the servers' time is ahead of this machine's, in microseconds. The answer that took the least time
// tells it best; one that is older than offsetLife tells nothing.
type offset struct {
	value atomic.Int64
	mu    sync.Mutex
	took  time.Duration
	at    time.Time
}

const offsetLife = 5 * time.Second

func (o *offset) load() int64 { return o.value.Load() }

// learn is told that a server's time was server when a check came there that was sent at own, and how long it was on its way
// and back.
func (o *offset) learn(server, own int64, took time.Duration) {
	if own == 0 || !o.mu.TryLock() {
		return
	}
	defer o.mu.Unlock()
	now := time.Now()
	if o.took != 0 && took > o.took && now.Sub(o.at) < offsetLife {
		return
	}
	o.took, o.at = took, now
	o.value.Store(server - own - took.Microseconds()/2)
}
