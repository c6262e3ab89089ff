package gate

import (
	"context"
	"errors"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// knownGood tells whether a number verified for the account within otp.known_good.for. A store that cannot say it is judged by
// the charges that follow.
func (g *Gate) knownGood(ctx context.Context, r *rules, send *policy.Send, at time.Time) (bool, error) {
	u, err := g.store.Peek(ctx, at, limiter.Charge{Rule: r.own.knownGood, Key: g.numberKey(send.Account, send.Number.Digits()), Cost: 1})
	if errors.Is(err, limiter.ErrForeignRule) {
		return false, err
	}
	return err == nil && u.Held > 0, nil
}
