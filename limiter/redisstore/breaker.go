package redisstore

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

const (
	// failuresToOpen is how many commands in a row fail before no more are sent.
	failuresToOpen = 5
	// Between two looks whether the server is back: from probeFirst, doubled up to probeLast, each up to half more.
	probeFirst = 50 * time.Millisecond
	probeLast  = time.Second
)

// breaker stops sending to a server that does not answer, so that callers have their answer at once and the server is not
// stormed when it comes back: only one look at a time is made, in the background, until one succeeds. It covers all slots, or
// 256 neighbours of a Cluster's 16384.
type breaker struct {
	s        *Store
	isOpen   atomic.Bool
	failures atomic.Int32
}

func (s *Store) part(key string) *breaker {
	if !s.cluster.Load() {
		return &s.parts[0]
	}
	return &s.parts[slotOf(s.tagOf(key))>>8]
}

func (b *breaker) refuses() bool { return b.isOpen.Load() }

func (b *breaker) succeeded() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

func (b *breaker) failed(err error, key string) {
	if b.failures.Add(1) >= failuresToOpen {
		b.open(err, key)
	}
}

// open says so in the log, once, and looks after the server until it answers.
func (b *breaker) open(err error, key string) {
	if !b.isOpen.CompareAndSwap(false, true) {
		return
	}
	s := b.s
	s.faults.opened.Add(1)
	s.o.Log.Warn("store: no answer, nothing is sent until it is back", "error", err)
	since, refused := time.Now(), s.faults.refused.Load()
	s.spawn(func() {
		for wait := probeFirst; ; wait = min(2*wait, probeLast) {
			if !sleep(context.Background(), s.stopping, wait) {
				return
			}
			if s.answers(key) {
				break
			}
		}
		b.failures.Store(0)
		b.isOpen.Store(false)
		s.o.Log.Info("store: it is back", "after", time.Since(since).Round(time.Millisecond), "refused", s.faults.refused.Load()-refused)
	})
}

// answers looks whether what failed would be done now: by a write, since a replica reads as well.
func (s *Store) answers(key string) bool {
	if s.client.Load() == nil && s.connect() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(s.o.Timeout, time.Second))
	defer cancel()
	c := *s.client.Load()
	err := c.Do(ctx, c.B().Set().Key(s.prefix+"{"+s.tagOf(key)+"}~").Value("").Px(time.Second).Build()).Error()
	e, said := rueidis.IsRedisErr(err)
	return err == nil || said && !passing(e) && !lockedOut(e)
}

// tagOf is the hash tag of a key.
func (s *Store) tagOf(key string) string {
	_, tag, _ := strings.Cut(key, "{")
	tag, _, _ = strings.Cut(tag, "}")
	return tag
}
