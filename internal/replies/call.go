package replies

import (
	"context"
	"fmt"
	"time"
)

// State is what is known of a key.
type State uint8

// The states that Begin answers.
const (
	_        State = iota
	New            // nobody asked before: do the work, then Finish or Abandon
	Done           // answered before: give Reply
	Conflict       // the same key came with another body, within Keep
	Full           // no room: do the work; it will not be remembered, and Finish does nothing
	InFlight       // another process is at it; only of [Shared] and in records
)

// String returns "new", "done", "conflict" or "full".
func (s State) String() string {
	switch s {
	case New:
		return "new"
	case Done:
		return "done"
	case Conflict:
		return "conflict"
	case Full:
		return "full"
	case InFlight:
		return "in flight"
	}
	return "none"
}

// Question is what a call asks.
type Question struct {
	Account string // whose key it is
	Key     string // as the caller gave it
	Body    Sum    // of all that must be the same, from [Table.Sum]
}

// Call is one question under way. The zero Call is none. It is for one goroutine.
type Call struct {
	State State
	// Reply is what Finish was given when State is Done.
	Reply []byte

	table    *Table
	region   *region
	set      *set
	at       int
	sequence uint64
	other    elsewhere
}

// Begin tells what is known of a key, and if that is nothing, begins to know it. If a twin is in flight, Begin waits until it
// ends, ctx does or the table is closed; then the error is ctx.Err or [ErrClosed], the only two there are. A reply is
// appended to room, which may be nil. Begin does not allocate unless it waits or room is too small.
func (t *Table) Begin(ctx context.Context, now time.Time, q Question, room []byte) (Call, error) {
	key := t.keySum(q.Account, q.Key)
	r, sets := t.home(&key)
	for {
		r.mu.Lock()
		call, twin := t.begin(r, sets, now.UnixMicro(), key, q.Body, room)
		closed := r.closed
		r.mu.Unlock()
		if closed {
			return Call{}, ErrClosed
		}
		if twin == nil {
			if t.shared != nil && (call.State == New || call.State == Full) {
				if err := t.beginShared(ctx, &call, key, q.Body, room); err != nil {
					return Call{}, err
				}
			}
			t.count(call.State)
			return call, nil
		}
		t.waited.Add(1)
		select {
		case <-twin:
		case <-ctx.Done():
			return Call{}, ctx.Err()
		}
	}
}

// begin is Begin behind the lock. If there is a twin to wait for, it returns what is closed when it ends.
func (t *Table) begin(r *region, sets [2]*set, now int64, key, body Sum, room []byte) (Call, <-chan struct{}) {
	if r.closed {
		return Call{}, nil
	}
	call := Call{State: Full, table: t, region: r}
	emptiest := reach
	for _, s := range sets {
		free, lives := -1, 0
		for i := range s.heads {
			h := &s.heads[i]
			switch {
			case !t.live(h, now):
				free = i
			case h.key != key:
				lives++
			case h.state == Done && !s.whole(i):
				t.damaged.Add(1)
				h.state = 0
				free = i
			case h.body != body:
				return Call{State: Conflict}, nil
			case h.state == InFlight:
				return Call{}, r.twin(h.sequence)
			default:
				return Call{State: Done, Reply: append(room, s.replies[i][:h.length]...)}, nil
			}
		}
		if lives < emptiest {
			emptiest = lives
			call.State, call.set, call.at = New, s, free
		}
	}
	if call.State == New {
		r.last++
		call.sequence = r.last
		call.set.heads[call.at] = head{
			key: key, body: body, expires: now + t.keep, epoch: t.epoch, sequence: call.sequence, state: InFlight,
		}
	}
	return call, nil
}

func (t *Table) count(s State) {
	switch s {
	case New:
		t.fresh.Add(1)
	case Done:
		t.replayed.Add(1)
	case Conflict:
		t.conflicts.Add(1)
	case Full:
		t.full.Add(1)
	}
}

// Finish remembers the reply and wakes those who wait for it. Without a call that is New it does nothing, and also if the call
// took longer than Keep, so that its record is another's. A reply longer than [MaxReply] is an error, and the call goes on.
func (c *Call) Finish(reply []byte) error {
	if len(reply) > MaxReply {
		return fmt.Errorf("replies: a reply of %d bytes: must be at most %d", len(reply), MaxReply)
	}
	c.tellOthers(reply) // first: who is told here must be told the same there
	c.end(func(h *head) {
		h.length = uint16(copy(c.set.replies[c.at][:], reply))
		h.state = Done
		h.sum = c.set.checksum(c.at)
	})
	return nil
}

// Abandon forgets the call: the next who asks is New, the first of those who wait at once. After Finish it does nothing.
func (c *Call) Abandon() {
	c.tellOthers(nil)
	c.end(func(h *head) { h.state = 0 })
}

func (c *Call) end(write func(*head)) {
	if c.State != New || c.set == nil {
		return
	}
	r := c.region
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		h := &c.set.heads[c.at]
		if h.state == InFlight && h.epoch == c.table.epoch && h.sequence == c.sequence {
			write(h)
		}
		r.wake(c.sequence)
	}
	c.set = nil
}

// twin returns what is closed when a call ends.
func (r *region) twin(sequence uint64) <-chan struct{} {
	if r.waiting == nil {
		r.waiting = map[uint64]chan struct{}{}
	}
	ended, ok := r.waiting[sequence]
	if !ok {
		ended = make(chan struct{})
		r.waiting[sequence] = ended
	}
	return ended
}

func (r *region) wake(sequence uint64) {
	if ended, ok := r.waiting[sequence]; ok {
		close(ended)
		delete(r.waiting, sequence)
	}
}
