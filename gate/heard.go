package gate

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/limiter"
)

// heard remembers when each account last reported that a code was entered, right or wrong. Detection learns from that what is
// normal. For an account that never says, it tells what it sees and stops nothing by it: a launch, a test, a busy office look
// like an attack to who never hears that codes are entered. Accounts share a place where their tags do: at worst one of them is
// taken for one that reports.
type heard struct {
	at [1 << 12]atomic.Int64 // unix seconds; 0 is not looked up yet, notHeard never
}

const notHeard = -1

func (h *heard) place(account [4]byte) *atomic.Int64 {
	return &h.at[(int(account[0])<<8|int(account[1]))%len(h.at)]
}

// hear notes an outcome that says whether a code was entered. Delivery says nothing about who asked.
func (g *Gate) hear(account [4]byte, at time.Time, what detect.OutcomeKind) {
	if what != detect.Verified && what != detect.Failed {
		return
	}
	p, now := g.heard.place(account), at.Unix()
	last := p.Load()
	if now <= last {
		return
	}
	p.Store(now)
	if hour := int64(remarkAfter / time.Second); now/hour != last/hour { // for the next start; who is not remembered is heard again
		_ = g.store.Mark(context.Background(), at, at.Add(reportingFor), g.rules.Load().own.reporting, g.heardKey(account))
	}
}

// silent says that an account has reported nothing for a week.
func (g *Gate) silent(ctx context.Context, r *rules, account [4]byte, at time.Time) bool {
	p := g.heard.place(account)
	last := p.Load()
	if last == 0 {
		last = notHeard
		if u, err := g.store.Peek(ctx, at, limiter.Charge{Rule: r.own.reporting, Key: g.heardKey(account), Cost: 1}); err == nil && u.Held > 0 {
			last = at.Unix()
		}
		p.CompareAndSwap(0, last)
	}
	return last == notHeard || at.Unix()-last > int64(reportingFor/time.Second)
}

func (g *Gate) heardKey(account [4]byte) limiter.Key {
	return g.key(append([]byte("feedback of "), account[:]...))
}
