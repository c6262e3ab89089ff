package replies

import (
	"context"
	"time"
)

// Shared is a memory that several tables share, so that a key which comes to two processes is answered once. It keeps an answer for
// as long as it is told. All its methods may be called concurrently, and every one may be repeated.
type Shared interface {
	// Begin tells what is known of a key: New, and then the call is this one's by the token, until it ends or the memory gives up on it;
	// Done with the reply; Conflict; or InFlight, where another is at it.
	Begin(ctx context.Context, key, body Sum) (s State, reply []byte, token string, err error)
	// Finish remembers the reply of a call. Abandon forgets it.
	Finish(ctx context.Context, key, body Sum, token string, reply []byte, keep time.Duration) error
	Abandon(ctx context.Context, key, body Sum, token string) error
}

// Between two looks whether another process has answered: from lookFirst, doubled up to lookLast.
const (
	lookFirst = 2 * time.Millisecond
	lookLast  = 50 * time.Millisecond
)

// elsewhere is what the other processes know of a call that is new here.
type elsewhere struct {
	key, body Sum
	token     string // empty where the memory could not be asked
}

// beginShared asks the other processes about a call that is new here, and waits for one that is at it. Where they cannot be asked,
// the call is this process's alone.
func (t *Table) beginShared(ctx context.Context, c *Call, key, body Sum, room []byte) error {
	for wait := lookFirst; ; wait = min(2*wait, lookLast) {
		state, reply, token, err := t.shared.Begin(ctx, key, body)
		switch {
		case ctx.Err() != nil:
			c.Abandon()
			return ctx.Err()
		case err != nil:
			t.unshared.Add(1)
			return nil
		case state == New:
			c.other = elsewhere{key, body, token}
			return nil
		case state == Done:
			// The next who asks here is told without asking there.
			err := c.Finish(reply)
			if err != nil {
				c.Abandon()
				return err
			}
			c.State, c.Reply = Done, append(room, reply...)
			return nil
		case state == Conflict:
			c.Abandon()
			c.State = Conflict
			return nil
		}
		t.waited.Add(1)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			c.Abandon()
			return ctx.Err()
		}
	}
}

// tellOthers ends a call for the other processes: with its reply, or without if nil. What cannot be told is told in vain: then another
// process that is asked the same is new once more, when the memory has given up on this one.
func (c *Call) tellOthers(reply []byte) {
	o := &c.other
	if o.token == "" {
		return
	}
	ctx := context.Background() // the memory bounds it
	var err error
	if reply != nil {
		err = c.table.shared.Finish(ctx, o.key, o.body, o.token, reply, time.Duration(c.table.keep)*time.Microsecond)
	} else {
		err = c.table.shared.Abandon(ctx, o.key, o.body, o.token)
	}
	if err != nil {
		c.table.unshared.Add(1)
	}
	o.token = ""
}
