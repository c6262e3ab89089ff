package redisstore

import (
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/internal/replies"
)

//go:embed replies.lua
var repliesSource string

// Replies is the memory of idempotency keys that sidecars share. A call in flight is known for callLease, so that a sidecar which
// dies in the middle keeps nobody waiting for longer.
type Replies struct{ s *Store }

// Replies returns it.
func (s *Store) Replies() replies.Shared { return Replies{s} }

// callLease is far longer than a check may take.
const callLease = 10 * time.Second

// Begin implements [replies.Shared].
func (r Replies) Begin(ctx context.Context, key, body replies.Sum) (replies.State, []byte, string, error) {
	token := r.s.token()
	out, err := r.run(ctx, key, []string{"begin", string(body[:]), token, strconv.FormatInt(callLease.Milliseconds(), 10)})
	if err != nil {
		return 0, nil, "", err
	}
	switch {
	case out == "N":
		return replies.New, nil, token, nil
	case out == "C":
		return replies.Conflict, nil, "", nil
	case out == "W":
		return replies.InFlight, nil, "", nil
	case out != "" && out[0] == 'D':
		return replies.Done, []byte(out[1:]), "", nil
	}
	return 0, nil, "", fmt.Errorf("redisstore: the server's answer has %d bytes: is key prefix %q used by something else?", len(out), r.s.prefix)
}

// Finish implements [replies.Shared].
func (r Replies) Finish(ctx context.Context, key, body replies.Sum, token string, reply []byte, keep time.Duration) error {
	_, err := r.run(ctx, key, []string{"finish", string(body[:]), token, strconv.FormatInt(keep.Milliseconds(), 10), string(reply)})
	return err
}

// Abandon implements [replies.Shared].
func (r Replies) Abandon(ctx context.Context, key, body replies.Sum, token string) error {
	_, err := r.run(ctx, key, []string{"abandon", string(body[:]), token})
	return err
}

// run runs the script within the store's timeout. Every operation may come twice, so a lost answer is asked for again.
func (r Replies) run(ctx context.Context, key replies.Sum, args []string) (out string, err error) {
	name := r.s.named(base64.RawURLEncoding.EncodeToString(key[:]), "!")
	err = r.s.beside(ctx, name, r.s.o.Timeout, func(ctx context.Context, c rueidis.Client) error {
		for try := 0; ; try++ {
			out, err = r.s.repliesScript.Exec(ctx, c, []string{name}, args).ToString()
			if _, said := rueidis.IsRedisErr(err); err == nil || said || try == maxTries || !sleep(ctx, r.s.stopping, time.Millisecond<<try) {
				return err
			}
		}
	})
	return out, err
}
