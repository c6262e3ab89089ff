package gate

import (
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// heard remembers when an account last reported that a code was entered, right or wrong. Detection learns from that what is
// normal; for an account that never says, it reports what it sees and stops nothing by it. Accounts share a place where their
// tags do: at worst one of them is taken for one that reports.
type heard struct {
	at [1 << 12]atomic.Int64 // unix seconds
}

// silentAfter is how long an account may report nothing.
const silentAfter = 24 * time.Hour

func (h *heard) place(account [4]byte) *atomic.Int64 {
	return &h.at[(int(account[0])<<8|int(account[1]))%len(h.at)]
}

// note keeps an outcome that says whether a code was entered. Delivery says nothing about who asked.
func (h *heard) note(account [4]byte, at time.Time, what detect.OutcomeKind) {
	if what == detect.Verified || what == detect.Failed {
		h.place(account).Store(at.Unix())
	}
}

func (h *heard) silent(account [4]byte, at time.Time) bool {
	last := h.place(account).Load()
	return last == 0 || at.Unix()-last > int64(silentAfter/time.Second)
}
