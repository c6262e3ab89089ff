package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/limiter"
)

// UnavailableError says that the server could not be asked, or gave no answer in time.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string {
	return "redisstore: no answer from the store: " + e.Err.Error()
}

// Unwrap returns the reason. It is never an error of a context: only a caller's own context is reported as such.
func (e *UnavailableError) Unwrap() error { return e.Err }

var (
	errSlow    = errors.New("it took longer than the store's timeout")
	errDown    = errors.New("it was not reachable a moment ago, and is looked after")
	errNoReply = errors.New("the connection was lost before the answer")
	errFull    = errors.New("redisstore: the server has no memory left")
)

// lost is an error after which the server may have done what it was asked, or may do it yet.
type lost struct{ error }

func (e lost) Unwrap() error { return e.error }

func unanswered(err error) bool { return errors.As(err, new(lost)) }

// Faults counts what went wrong, since the store was opened.
type Faults struct {
	Failed  int64 // commands without an answer, or with one that the server is not ready
	Retried int64 // commands sent again
	Refused int64 // commands not sent because the server was not reachable a moment ago
	Opened  int64 // times that commands began to be refused
	GivenUp int64 // checks whose answer was lost and that were taken back
	Stuck   int64 // checks whose answer was lost and that could not be taken back in time
	Near    int64 // denials answered without asking the server
	// Undone counts checks of a Cluster of which a part was taken and given back, Unsettled those of them that were denied because
	// their windows ended faster than the servers answered.
	Undone, Unsettled int64
}

type counters struct {
	failed, retried, refused, opened, givenUp, stuck, near, undone, unsettled, fullOpen, fullClosed atomic.Int64
}

// Faults is a cheap snapshot.
func (s *Store) Faults() Faults {
	f := &s.faults
	return Faults{Failed: f.failed.Load(), Retried: f.retried.Load(), Refused: f.refused.Load(), Opened: f.opened.Load(),
		GivenUp: f.givenUp.Load(), Stuck: f.stuck.Load(), Near: f.near.Load(), Undone: f.undone.Load(), Unsettled: f.unsettled.Load()}
}

// run runs the script. With again it is tried again while ctx allows: the command must be one that may come twice.
func (s *Store) run(ctx context.Context, c command, again bool) (string, error) {
	b := s.part(c.keys[0])
	if b.refuses() {
		s.faults.refused.Add(1)
		return "", &UnavailableError{errDown}
	}
	sent := false // a try may have reached the server
	for try := 0; ; try++ {
		client := s.client.Load()
		if client == nil {
			return "", &UnavailableError{errDown}
		}
		out, err := s.script.Exec(ctx, *client, c.keys, c.args).ToString()
		if err == nil {
			b.succeeded()
			return out, nil
		}
		re, said := rueidis.IsRedisErr(err)
		switch {
		case said && outOfMemory(re):
			b.succeeded()
			return "", errFull
		case said && !passing(re) && !lockedOut(re):
			b.succeeded()
			return "", fmt.Errorf("redisstore: the server refuses: %w", re)
		case !said && !neverSent(err):
			sent = true
		}
		s.faults.failed.Add(1)
		wrap := func(err error) error {
			if sent {
				return lost{err}
			}
			return err
		}
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSlow) {
			return "", wrap(ctx.Err()) // the caller's own: nothing is known about the server
		}
		b.failed(err, c.keys[0])
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return "", wrap(&UnavailableError{errSlow})
		}
		if !again || said && lockedOut(re) || try == maxTries || b.refuses() || !sleep(ctx, s.stopping, time.Millisecond<<try) {
			if !said {
				err = errNoReply
			}
			return "", wrap(&UnavailableError{err})
		}
		s.faults.retried.Add(1)
		if sent {
			c = c.again()
		}
	}
}

// maxTries is how often a command is sent again: 1, 2 and 4 ms later, or half more.
const maxTries = 3

// sleep waits for about d and says whether there is still time.
func sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	return false
}

// neverSent says that a command was not written to any connection.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, rueidis.ErrNoAddr)
}

func outOfMemory(e *rueidis.RedisError) bool { return strings.HasPrefix(e.Error(), "OOM") }

// passing says that the server will be ready again, or another take its place.
func passing(e *rueidis.RedisError) bool {
	for _, p := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "BUSY", "NOREPLICAS", "MISCONF"} {
		if strings.HasPrefix(e.Error(), p) {
			return true
		}
	}
	return false
}

// lockedOut says that the password or the rights are wrong now. Every connection made anew would be refused, so none are made but
// to look whether that has changed.
func lockedOut(e *rueidis.RedisError) bool {
	for _, p := range []string{"NOAUTH", "WRONGPASS", "NOPERM"} {
		if strings.HasPrefix(e.Error(), p) {
			return true
		}
	}
	return false
}

// refusedForGood says that trying again does not help: the options are wrong.
func refusedForGood(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && !passing(e)
}

// abandoned is a check that nobody waits for and that may have been charged.
type abandoned struct {
	c     command
	until time.Time
}

// giveUpLater sees to it that a check without an answer, at its place in the call of a token, charges nothing, also if it reaches
// the server only now.
func (s *Store) giveUpLater(at reading, charges []limiter.Charge, token string, place int) {
	select {
	case s.abandon <- abandoned{s.giveUp(at, charges, token, place), time.Now().Add(tokenLife - time.Second)}:
	default:
		s.faults.stuck.Add(1)
	}
}

func (s *Store) giveUp(at reading, charges []limiter.Charge, token string, place int) command {
	if s.clock() != byCaller {
		at.hi = at.lo
	}
	return s.newCommand(head{op: opGiveUp, flag: firstTry, now: at, arg: int64(place)}, charges, token)
}

func (s *Store) giveUpAbandoned() {
	for {
		select {
		case <-s.stopping:
			return
		case a := <-s.abandon:
			if s.giveUpNow(a) {
				s.faults.givenUp.Add(1)
			} else {
				s.faults.stuck.Add(1)
			}
		}
	}
}

func (s *Store) giveUpNow(a abandoned) bool {
	for {
		ctx, cancel := context.WithTimeoutCause(context.Background(), s.o.Timeout, errSlow)
		_, err := s.run(ctx, a.c, true)
		cancel()
		if err == nil {
			return true
		}
		if time.Now().After(a.until) || !sleep(context.Background(), s.stopping, 50*time.Millisecond) {
			return false
		}
	}
}
