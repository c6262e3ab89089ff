package consent

import (
	"errors"
	"time"
)

// Retention is how long records are kept. See docs/consent.md for where the defaults come from; they are not legal advice.
type Retention struct {
	// Unconfirmed is how long a double opt-in that nobody confirmed is kept, after it could be. Default 30 days.
	Unconfirmed time.Duration
	// Proof is how long proofs are kept after the consent ended. Default 4 years: claims under the TCPA lapse then (28 USC 1658).
	Proof time.Duration
	// Forgotten is how long an opt-out is kept of a person who asked to be forgotten. Default 5 years: so long a request not to be
	// called has to be honoured (47 CFR 64.1200(d)(6)). Other opt-outs stay until the person comes back.
	Forgotten time.Duration
	// Messages is how long a keyword that was heard is known again, by the platform's id of its message. Default 366 days: what is
	// older is not taken.
	Messages time.Duration
}

const day = 24 * time.Hour

// DefaultRetention is what Retention says where it is left out.
func DefaultRetention() Retention {
	return Retention{Unconfirmed: 30 * day, Proof: 4 * 365 * day, Forgotten: 5 * 365 * day, Messages: 366 * day}
}

func (r *Retention) check() error {
	d := DefaultRetention()
	for _, f := range []struct{ set, otherwise *time.Duration }{{&r.Unconfirmed, &d.Unconfirmed}, {&r.Proof, &d.Proof}, {&r.Forgotten, &d.Forgotten}, {&r.Messages, &d.Messages}} {
		switch {
		case *f.set < 0:
			return errors.New("consent: retention: write positive times")
		case *f.set == 0:
			*f.set = *f.otherwise
		}
	}
	return nil
}
