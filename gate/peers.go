package gate

import (
	"encoding/binary"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// Peers are other gates on the same store, of the same secret, each with a detection of its own. They are told what this gate's
// detection was told, and what theirs were comes back through [Gate.Learn], so that traffic that is spread over all of them is
// detected as if one had seen it. Saw is called on the road of a check and must not wait.
type Peers interface {
	// Saw is told of a sighting; learned is false where Learn is to be called with it again when the send may have come from a peer.
	Saw(s *Sighting, learned bool)
}

// Sighting is one thing that detection was told. It names the number and the client in the clear: who carries it seals it.
type Sighting struct {
	What Sight
	// Send is a send, for What up to SightDenied. Of an outcome only ID and At are set, of a release only At.
	Send detect.Send
	// Outcome is what became of the send of that ID, and Account the tag of whose it was.
	Outcome detect.OutcomeKind
	Account [4]byte
	// Released is whose block was ended by hand.
	Released detect.Subject
}

// Sight says what a sighting is.
type Sight uint8

// The sightings.
const (
	SightWent    Sight = iota + 1 // a send that goes out
	SightStopped                  // a send that detection stopped, or sent to a challenge
	SightDenied                   // a send that something else stopped
	SightOutcome
	SightReleased
)

// sendID names a send to detection. Where detection hears of sends of other processes, whose sequences may run into each other, it
// has to do with the process as well.
func (g *Gate) sendID(start [4]byte, sequence uint64) uint64 {
	if g.peers == nil {
		return sequence
	}
	return sequence ^ uint64(binary.BigEndian.Uint32(start[:]))<<32
}

// tellSend tells the peers of a send, and whether it goes out.
func (g *Gate) tellSend(send *detect.Send, what Sight) {
	if g.peers != nil && g.detect.Watches(send) {
		g.peers.Saw(&Sighting{What: what, Send: *send}, true)
	}
}

// Learn lets detection see what a peer's saw. It returns false for the outcome of a send that is not known, or not yet. What
// peers tell may come late, by seconds at most, and not twice.
func (g *Gate) Learn(s *Sighting) bool {
	if g.detect == nil {
		return true
	}
	switch s.What {
	case SightOutcome:
		g.hearFrom(s.Account, s.Send.At, s.Outcome)
		return g.detect.Outcome(s.Send.At, s.Send.ID, s.Outcome)
	case SightReleased:
		g.detect.ReleaseSubject(s.Send.At, s.Released)
		return true
	}
	r := g.detect.Observe(&s.Send)
	switch {
	case s.What == SightWent && r.Advice.Stops():
		g.detect.Admitted(&s.Send, &r)
	case s.What == SightStopped && !r.Advice.Stops(), s.What == SightDenied && r.Advice != detect.Deny && r.Advice != detect.Delay:
		g.detect.Denied(&s.Send, &r)
	}
	return true
}

// hearFrom notes that an account reports to a peer, which has told the store.
func (g *Gate) hearFrom(account [4]byte, at int64, what detect.OutcomeKind) {
	if p, now := g.heard.place(account), at/int64(time.Second); (what == detect.Verified || what == detect.Failed) && now > p.Load() {
		p.Store(now)
	}
}

// Release ends a block of detection by hand, here and at the peers, and forgets the evidence that made it. It returns false when there
// is none of that ID.
func (g *Gate) Release(id uint64) bool {
	at := g.clock().UnixNano()
	if g.detect == nil {
		return false
	}
	b, ok := g.detect.Block(id)
	if !ok || !g.detect.Release(at, id) {
		return false
	}
	if g.peers != nil {
		g.peers.Saw(&Sighting{What: SightReleased, Send: detect.Send{At: at}, Released: b.Subject}, true)
	}
	return true
}
