package redisstore

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/limiter"
)

//go:embed sendgate.lua
var source string

var (
	errReading = errors.New("redisstore: the reading is before 1970 or after 2111")
	errTwice   = errors.New("redisstore: a Take charges one rule twice for one key: add the costs up")
)

// Store is a [limiter.Store] on Redis or Valkey. It is safe for concurrent use.
type Store struct {
	o                                    Options
	prefix                               string // with the version
	keyed                                *keyed
	script                               *rueidis.Lua
	mapScript, repliesScript, beatScript *rueidis.Lua
	near                                 *near
	wall                                 func() time.Time

	client  atomic.Pointer[rueidis.Client] // nil until the first connection
	cluster atomic.Bool
	offset  offset
	parts   [64]breaker // of a Cluster's slots; else only the first

	session [6]byte
	checks  atomic.Uint64
	abandon chan abandoned
	faults  counters

	gathering gathering
	stopping  chan struct{}
	mu        sync.Mutex // of closed, against running
	closed    atomic.Bool
	running   sync.WaitGroup
}

// spawn runs f in the background, unless the store is closed, and says so. Close waits for it.
func (s *Store) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	s.running.Go(f)
	return true
}

// Open returns a store. If the server cannot be reached it tries on in the background, and until then every call fails with an
// [UnavailableError]. An error is about the options, or what the server refuses for good: a wrong password, no permission.
func Open(o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Store{o: o, prefix: o.Prefix + version, keyed: newKeyed(o.Secret), script: rueidis.NewLuaScript(source),
		mapScript: rueidis.NewLuaScript(mapSource), repliesScript: rueidis.NewLuaScript(repliesSource), beatScript: rueidis.NewLuaScript(beatSource), wall: time.Now,
		abandon: make(chan abandoned, 1024), stopping: make(chan struct{})}
	if o.Near > 0 {
		s.near = &near{life: o.Near}
	}
	binary.BigEndian.PutUint32(s.session[:], rand.Uint32())
	binary.BigEndian.PutUint16(s.session[4:], uint16(rand.Uint32()))
	for i := range s.parts {
		s.parts[i].s = s
	}
	s.spawn(s.giveUpAbandoned)
	if err := s.connect(); err != nil {
		if refusedForGood(err) {
			_ = s.Close()
			return nil, fmt.Errorf("redisstore: %w", err)
		}
		s.parts[0].open(err, "")
	}
	return s, nil
}

// connect makes the client. rueidis makes connections anew by itself once it had one.
func (s *Store) connect() error {
	c, err := rueidis.NewClient(s.o.client(s.dropped))
	if err != nil {
		return err
	}
	s.cluster.Store(c.Mode() == rueidis.ClientModeCluster)
	if s.cluster.Load() {
		s.askTime(c)
	}
	s.client.Store(&c)
	s.spawn(func() { s.warnOfEviction(c) })
	return nil
}

// askTime learns the servers' time before the first check is judged by it.
func (s *Store) askTime(c rueidis.Client) {
	for _, node := range c.Nodes() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		own, sent := s.wall().UnixMicro(), time.Now()
		t, err := node.Do(ctx, node.B().Time().Build()).AsIntSlice()
		cancel()
		if err == nil && len(t) == 2 {
			s.offset.learn(t[0]*1_000_000+t[1], own, time.Since(sent))
		}
	}
}

// warnOfEviction says so if a server would rather forget who is limited than be full. Where it may not ask it says nothing.
func (s *Store) warnOfEviction(c rueidis.Client) {
	for addr, node := range c.Nodes() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		info, err := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
		cancel()
		if err != nil || strings.Contains(info, "maxmemory_policy:noeviction") || strings.Contains(info, "maxmemory:0\r\n") {
			continue
		}
		s.o.Log.Warn("store: a full server forgets who is limited: set maxmemory-policy noeviction", "server", addr)
	}
}

// Close ends the connections. What was taken stays taken.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed.Swap(true)
	s.mu.Unlock()
	if was {
		return nil
	}
	close(s.stopping)
	s.running.Wait()
	if c := s.client.Load(); c != nil {
		(*c).Close()
	}
	return nil
}

// Define implements [limiter.Store]. Rules are known to this store only: sidecars agree on them by having the same policy,
// and while they have not, each judges by its own.
func (s *Store) Define(_ context.Context, limits []limiter.Limit) ([]*limiter.Rule, error) {
	if s.closed.Load() {
		return nil, limiter.ErrClosed
	}
	if err := limiter.Validate(limits); err != nil {
		return nil, err
	}
	rules := make([]*limiter.Rule, len(limits))
	for i, l := range limits {
		rules[i] = limiter.NewRule(l, s.newRule(l))
	}
	s.near.forget() // a raised N lets pass what was denied
	return rules, nil
}

// Key implements [limiter.Store]: HMAC-SHA-256, cut to 128 bits.
func (s *Store) Key(b []byte) limiter.Key {
	sum := s.sum(b)
	return limiter.Key{Fingerprint: binary.BigEndian.Uint64(sum[:]), Place: binary.BigEndian.Uint64(sum[8:])}
}

// body is nil for a rule that no redisstore made.
func body(r *limiter.Rule) *rule {
	b, _ := r.Body().(*rule)
	return b
}

func (s *Store) own(r *limiter.Rule, at reading) (*rule, error) {
	b := body(r)
	switch {
	case s.closed.Load():
		return nil, limiter.ErrClosed
	case b == nil || b.owner != s:
		return nil, limiter.ErrForeignRule
	case !at.valid():
		return nil, errReading
	}
	return b, nil
}

func (s *Store) check(at reading, charges []limiter.Charge) error {
	if s.closed.Load() {
		return limiter.ErrClosed
	}
	if !at.valid() {
		return errReading
	}
	if len(charges) > limiter.MaxCharges {
		return fmt.Errorf("redisstore: %d charges in one Take: at most %d", len(charges), limiter.MaxCharges)
	}
	for i := range charges {
		c := &charges[i]
		r := body(c.Rule)
		if r == nil || r.owner != s || r.kind == kindMarker {
			return limiter.ErrForeignRule
		}
		if r.kind == kindWindow && (c.Cost < 1 || c.Cost > r.n) {
			return &limiter.CostError{Rule: c.Rule.Limit().Name, Cost: c.Cost, Limit: r.n}
		}
		for j := range i {
			if charges[j].Key == c.Key && body(charges[j].Rule).tag == r.tag {
				return errTwice
			}
		}
	}
	return nil
}

// clock is what the script is told of readings.
func (s *Store) clock() byte {
	switch {
	case s.o.Clock == CallersClock:
		return byCaller
	case s.cluster.Load():
		return nearServer
	}
	return byServer
}

// reading is now by the clock that the servers judge by, as far as it is known here. What the caller gives counts only where
// the caller's clock does: it may be a Decision.At, which is of a server's clock already.
func (s *Store) reading(now time.Time) reading {
	r := readingOf(now)
	switch s.clock() {
	case nearServer:
		r.own = s.wall().UnixMicro()
		r.lo = r.own + s.offset.load()
		r.hi = r.lo
	case byServer:
		r.hi = r.lo
	}
	return r
}

// here is what near goes by: this machine's clock, unless the caller's counts.
func (s *Store) here(now time.Time) time.Time {
	if s.near == nil || s.clock() == byCaller {
		return now
	}
	return s.wall()
}

// Take implements [limiter.Store].
func (s *Store) Take(ctx context.Context, now time.Time, charges []limiter.Charge) (limiter.Decision, error) {
	if err := s.check(readingOf(now), charges); err != nil {
		return limiter.Decision{}, err
	}
	if len(charges) == 0 {
		return limiter.Decision{Allowed: true, Binding: -1, At: now}, nil
	}
	here := s.here(now)
	if d, ok := s.near.denies(here, charges); ok {
		s.faults.near.Add(1)
		d.At = now
		return d, nil
	}
	a, err := s.takeAll(ctx, s.reading(now), charges)
	if errors.Is(err, errFull) {
		return s.full(now, charges), nil
	}
	if err != nil {
		return limiter.Decision{}, err
	}
	d := limiter.Decision{Allowed: a.allowed, Binding: a.binding, Remaining: a.remaining, At: now}
	if s.clock() != byCaller || a.at != readingOf(now).lo {
		d.At = time.UnixMicro(a.at)
	}
	if !a.allowed {
		d.RetryAfter = time.Duration(max(1, a.wait)) * time.Microsecond
		s.near.learn(s, here, d, &charges[a.binding])
	}
	return d, nil
}

// takeAll takes the charges of all slots or none.
func (s *Store) takeAll(ctx context.Context, at reading, charges []limiter.Charge) (answer, error) {
	if !s.cluster.Load() {
		return s.takeTogether(ctx, at, charges)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, errSlow)
	defer cancel()
	groups := bySlot(charges)
	if len(groups) == 1 {
		return s.takeSlot(ctx, at, charges, s.token())
	}
	return s.takeSlots(ctx, at, charges, groups)
}

// full is the decision where the server has no memory left to remember anything new.
func (s *Store) full(now time.Time, charges []limiter.Charge) limiter.Decision {
	for i := range charges {
		if !body(charges[i].Rule).failOpen {
			s.faults.fullClosed.Add(1)
			return limiter.Decision{Full: true, Binding: i, RetryAfter: time.Second, At: now}
		}
	}
	s.faults.fullOpen.Add(int64(len(charges)))
	return limiter.Decision{Allowed: true, Binding: -1, Skipped: len(charges), At: now}
}

// token names a check, in all sidecars.
func (s *Store) token() string {
	var b [12]byte
	copy(b[:], s.session[:])
	n := s.checks.Add(1)
	b[6], b[7] = byte(n>>40), byte(n>>32)
	binary.BigEndian.PutUint32(b[8:], uint32(n))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Refund implements [limiter.Store].
func (s *Store) Refund(ctx context.Context, at time.Time, charges []limiter.Charge) error {
	rd := readingOf(at)
	if err := s.check(rd, charges); err != nil || len(charges) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, errSlow)
	defer cancel()
	return s.eachSlot(charges, func(part []limiter.Charge) error {
		for i := range part {
			s.near.drop(&part[i])
		}
		// Not tried again: it cannot know whether it came before.
		_, err := s.run(ctx, s.newCommand(head{op: opRefund, now: rd}, part, ""), false)
		return err
	})
}

// Peek implements [limiter.Store].
func (s *Store) Peek(ctx context.Context, now time.Time, c limiter.Charge) (limiter.Usage, error) {
	r, err := s.own(c.Rule, readingOf(now))
	if err != nil {
		return limiter.Usage{}, err
	}
	c.Cost = max(1, c.Cost)
	if r.kind == kindWindow && c.Cost > r.n {
		return limiter.Usage{}, &limiter.CostError{Rule: c.Rule.Limit().Name, Cost: c.Cost, Limit: r.n}
	}
	b, err := s.one(ctx, head{op: opPeek, now: s.reading(now)}, c)
	if err != nil {
		return limiter.Usage{}, err
	}
	if len(b) != 13 {
		return limiter.Usage{}, fmt.Errorf("redisstore: the server's answer has %d bytes: is key prefix %q used by something else?", len(b), s.prefix)
	}
	return limiter.Usage{Held: number(b[:6]), RetryAfter: time.Duration(number(b[6:])) * time.Microsecond}, nil
}

// Reset implements [limiter.Store].
func (s *Store) Reset(ctx context.Context, now time.Time, r *limiter.Rule, key limiter.Key) error {
	if _, err := s.own(r, readingOf(now)); err != nil {
		return err
	}
	c := limiter.Charge{Rule: r, Key: key}
	s.near.drop(&c)
	_, err := s.one(ctx, head{op: opReset, now: s.reading(now)}, c)
	return err
}

// Mark implements [limiter.Store].
func (s *Store) Mark(ctx context.Context, now, until time.Time, r *limiter.Rule, key limiter.Key) error {
	b, err := s.own(r, readingOf(now))
	if err != nil {
		return err
	}
	if b.kind != kindMarker {
		return limiter.ErrForeignRule
	}
	if !readingOf(until).valid() {
		return errReading
	}
	at := s.reading(now)
	end := readingOf(until).lo + at.lo - readingOf(now).lo
	_, err = s.one(ctx, head{op: opMark, now: at, arg: end}, limiter.Charge{Rule: r, Key: key})
	return err
}

// one runs what may be run twice, for one key.
func (s *Store) one(ctx context.Context, h head, c limiter.Charge) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, errSlow)
	defer cancel()
	return s.run(ctx, s.newCommand(h, []limiter.Charge{c}, ""), true)
}

// Stats implements [limiter.Store]. How many keys fit and are held only the server knows.
func (s *Store) Stats() limiter.Stats {
	return limiter.Stats{FullOpen: s.faults.fullOpen.Load(), FullClosed: s.faults.fullClosed.Load()}
}
