package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

// What sidecars share beside counters lies on the same server, over the same connection, under names of its own:
//
//	sg1{<what>}<part>
//
// It is never on the road of a check, but for idempotency keys. While the server is away it fails at once, and it does not itself
// decide that the server is away.

// besideTimeout bounds a command beside the checks.
const besideTimeout = time.Second

// beside calls f with a client, unless the server of key is known to be away.
func (s *Store) beside(ctx context.Context, key string, timeout time.Duration, f func(context.Context, rueidis.Client) error) error {
	client := s.client.Load()
	if client == nil || s.closed.Load() || s.part(key).refuses() {
		return &UnavailableError{errDown}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSlow)
	defer cancel()
	err := f(ctx, *client)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errSlow):
		return &UnavailableError{errSlow}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &UnavailableError{err}
}

// named is the name of a key that is no counter's.
func (s *Store) named(what, part string) string { return s.prefix + "{" + what + "}" + part }
