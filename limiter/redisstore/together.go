package redisstore

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// On one server checks travel together: while a call of the script is on its way, those that come gather for the next one, which
// leaves when that is back. One check alone leaves at once. Where many come, the server reads, runs and answers one call for all of
// them, and so does this process; each is still judged as if it came alone, after the one before it.
//
// Where an answer takes longer than pace, by a network or under load, nobody who comes waits for it: the next call leaves with him.

const (
	// pace is how long a call must be under way for the next to leave before it is back.
	pace = 250 * time.Microsecond
	// togetherChecks and togetherKeys bound a call, and so how long the server does nothing else: some 300 us.
	togetherChecks = 100
	togetherKeys   = 500
)

// ride is a check on its way to the server and back.
type ride struct {
	since   time.Time // when it came
	at      reading
	keys    []byte // names, of equal length
	charges []priced
	back    chan struct{} // of one place: it is there

	// From when it leaves, under gathering.mu:
	call  *call
	place int // in it
	// Once it is back:
	answer answer
	err    error
}

// priced is what a charge asks of its rule.
type priced struct {
	rule *rule
	cost int64
}

// call is one call of the script.
type call struct {
	rides  []*ride
	token  string // name of its key
	ctx    context.Context
	cancel context.CancelFunc
	aboard int // rides that are waited for; under gathering.mu
}

// gathering is where checks wait for the next call.
type gathering struct {
	mu      sync.Mutex
	waiting []*ride
	keys    int // of waiting
	away    int // calls under way
	left    time.Time
	idle    sync.Pool // of *ride
}

func (s *Store) newRide(at reading, charges []limiter.Charge) *ride {
	r, _ := s.gathering.idle.Get().(*ride)
	if r == nil {
		r = &ride{back: make(chan struct{}, 1)}
	}
	r.since, r.at, r.keys, r.charges, r.call, r.err = time.Now(), at, r.keys[:0], r.charges[:0], nil, nil
	for i := range charges {
		r.keys = s.appendName(r.keys, &charges[i])
		r.charges = append(r.charges, priced{body(charges[i].Rule), charges[i].Cost})
	}
	return r
}

// newCall is a call of rides, of which the first waits longest.
func (s *Store) newCall(rides []*ride) *call {
	c := &call{rides: rides, token: s.tokenName(rides[0].keys, s.token()), aboard: len(rides)}
	c.ctx, c.cancel = context.WithDeadlineCause(context.Background(), rides[0].since.Add(s.o.Timeout), errSlow)
	for i, r := range rides {
		r.call, r.place = c, i
	}
	return c
}

// tokenName is the name of a token's key, in the slot of another.
func (s *Store) tokenName(key []byte, token string) string {
	return string(append(append(make([]byte, 0, 80), key[:len(s.prefix)+24]...), "~"+token...))
}

// takeTogether takes the charges of a check in one round trip, with others that come at the time.
func (s *Store) takeTogether(ctx context.Context, at reading, charges []limiter.Charge) (answer, error) {
	r, g := s.newRide(at, charges), &s.gathering
	g.mu.Lock()
	g.waiting = append(g.waiting, r)
	g.keys += len(charges)
	leads := g.away == 0 || len(g.waiting) >= togetherChecks || g.keys >= togetherKeys || r.since.Sub(g.left) >= pace
	ends := g.waiting[0].since.Add(s.o.Timeout)
	if leads {
		g.away++
		g.left = r.since
	}
	g.mu.Unlock()
	if leads {
		// Who has as much time as the call has makes it himself.
		if own, ok := ctx.Deadline(); ok && own.Before(ends) {
			s.send()
		} else {
			s.drive()
		}
	}
	select {
	case <-r.back:
	case <-ctx.Done():
		if g.step(r) {
			return answer{}, ctx.Err()
		}
		s.giveUpLater(at, charges, r.call.token, r.place)
		return answer{}, lost{ctx.Err()}
	}
	a, err := r.answer, r.err
	switch {
	case err == nil && a.allowed && ctx.Err() != nil: // nobody hears it
		err = lost{ctx.Err()}
		fallthrough
	case unanswered(err):
		s.giveUpLater(at, charges, r.call.token, r.place)
	}
	r.call = nil
	g.idle.Put(r)
	return a, err
}

// leave makes a call of all who wait; nil if another took them. Who is on the way to here from the network, or from a call that has
// just come back, is let in first: that takes no time where nobody is.
func (s *Store) leave() *call {
	g := &s.gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := 0; len(g.waiting) > n && len(g.waiting) < togetherChecks && g.keys < togetherKeys; {
		n = len(g.waiting)
		g.mu.Unlock()
		runtime.Gosched()
		g.mu.Lock()
	}
	if len(g.waiting) == 0 {
		g.away--
		return nil
	}
	c := s.newCall(slices.Clone(g.waiting))
	clear(g.waiting)
	g.waiting, g.keys = g.waiting[:0], 0
	return c
}

// step takes a ride that is not waited for any more off, and says whether it never left.
func (g *gathering) step(r *ride) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := r.call; c != nil {
		if c.aboard--; c.aboard == 0 {
			c.cancel()
		}
		return false
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(w *ride) bool { return w == r })
	g.keys -= len(r.charges)
	return true
}

// send drives in the background.
func (s *Store) send() {
	if !s.spawn(s.drive) {
		if c := s.leave(); c != nil {
			s.bring(c, "", limiter.ErrClosed)
		}
	}
}

// drive makes a call, sees to it that the next leaves, and brings everybody his answer.
func (s *Store) drive() {
	if c := s.leave(); c != nil {
		reply, err := s.run(c.ctx, s.newTake(c), true)
		s.bring(c, reply, err)
	}
}

func (s *Store) bring(c *call, reply string, err error) {
	c.cancel()
	g := &s.gathering
	g.mu.Lock()
	g.away--
	next := g.away == 0 && len(g.waiting) > 0
	if next {
		g.away++
		g.left = time.Now()
	}
	g.mu.Unlock()
	if next {
		s.send()
	}
	s.hand(c, reply, err)
}

// hand reads a reply and hands it out.
func (s *Store) hand(c *call, reply string, err error) {
	n := len(c.rides) * answerSize
	if err == nil && len(reply) != n && len(reply) != n+7 {
		err = fmt.Errorf("redisstore: the server's answer has %d bytes: is key prefix %q used by something else?", len(reply), s.prefix)
	}
	var server int64
	if err == nil {
		server = number(reply[n:])
	}
	for i, r := range c.rides {
		if r.err = err; err == nil {
			r.answer, r.err = parseAnswer(reply[i*answerSize:][:answerSize])
			r.answer.server = server
		}
		r.back <- struct{}{}
	}
}

// newTake packs a call.
func (s *Store) newTake(c *call) command {
	n, first := 0, c.rides[0]
	for _, r := range c.rides {
		n += len(r.charges)
	}
	name := len(first.keys) / len(first.charges)
	b := make([]byte, 0, n*(name+2+32)+len(c.rides)*9+len(c.token)+40)
	parts := make([]string, 0, n+8)
	for _, r := range c.rides {
		b = append(b, r.keys...)
	}
	names := len(b)
	b = s.appendHead(b, head{op: opTake, flag: firstTry})
	checks := len(b)
	// Checks ask the same of the same rules: that goes once.
	var asked []priced
	mine := s.clock() != byServer
	for _, r := range c.rides {
		b = append(b, byte(len(r.charges)))
		for _, p := range r.charges {
			i := slices.Index(asked, p)
			if i < 0 {
				i = len(asked)
				asked = append(asked, p)
			}
			b = append(b, byte((i+firstAsked)>>8), byte(i+firstAsked))
		}
		if mine {
			b = append56(append(b, r.at.frac()), r.at.lo)
		}
	}
	ends := make([]int, 0, 8)
	ends = append(ends, checks, len(b))
	for _, p := range asked {
		b = p.append(b)
		ends = append(ends, len(b))
	}
	all := string(b)
	for from := 0; from < names; from += name {
		parts = append(parts, all[from:from+name])
	}
	parts = append(parts, c.token)
	keys, from := len(parts), names
	for _, end := range ends {
		parts = append(parts, all[from:end])
		from = end
	}
	return command{parts[:keys:keys], parts[keys:]}
}
