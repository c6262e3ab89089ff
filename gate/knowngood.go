package gate

import (
	"context"
	"errors"

	"github.com/sendgate/sendgate/limiter"
)

// knownGood tells whether a number verified for the account within otp.known_good.for. A store that cannot say it is judged by
// the charges that follow.
func (g *Gate) knownGood(ctx context.Context, r *rules, s *scratch) (bool, error) {
	send := &s.event.Send
	s.body = appendNumberKey(s.body[:0], send.Account, send.Number.Digits()) // a buffer that nobody uses now
	u, err := g.store.Peek(ctx, s.event.Verdict.At, limiter.Charge{Rule: r.own.knownGood, Key: g.key(s.body), Cost: 1})
	if errors.Is(err, limiter.ErrForeignRule) {
		return false, err
	}
	return err == nil && u.Held > 0, nil
}
