package consent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// Kept is what stays of a person who asked to be forgotten, and why it may.
type Kept struct {
	Kind    string    `json:"kind"`
	Records int       `json:"records"`
	Basis   string    `json:"basis"`
	Until   time.Time `json:"until,omitzero"` // zero: until somebody ends it
}

// Forgotten is what Forget did.
type Forgotten struct {
	Removed map[string]int `json:"removed"` // by kind of record
	Kept    []Kept         `json:"kept,omitempty"`
}

// Forget removes every record about a number. An opt-out stays, as a seal and a day only: without it the person would be
// written to again. Sweep removes that when its time is over.
func (l *Ledger) Forget(ctx context.Context, now time.Time, n phone.Number) (Forgotten, error) {
	out := Forgotten{Removed: map[string]int{}}
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return out, err
	}
	defer release()
	var changes []Change
	kept, until := 0, now.Add(l.rules.Load().Retention.Forgotten)
	for _, kind := range ofPersons() {
		err := l.store.Scan(ctx, kind, p.append(nil), func(key, value []byte) error {
			c := Change{Kind: kind, Key: bytes.Clone(key)}
			if kind == KindOptOut {
				// The time of forgetting, to the day: from here the time that it may be kept runs.
				c.Value = optOut(now.UTC().Truncate(day), value[8]|flagForgotten)
				kept++
			} else {
				out.Removed[kind.String()]++
			}
			changes = append(changes, c)
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	if l.shared != nil {
		order, err := l.order(now, n)
		if err != nil {
			return out, err
		}
		changes = append(changes, order)
	}
	if err := l.store.Apply(ctx, changes...); err != nil {
		return out, err
	}
	for _, g := range l.grants.look(&p.seal, nil) {
		l.grants.drop(&p.seal, g.scope)
	}
	if l.shared != nil {
		out.Kept = append(out.Kept, Kept{KindForget.String(), 1, "the other sidecars, those that are away too, have to learn who is to be forgotten: the number, sealed", now.Add(2 * ordersKept)})
	}
	if kept > 0 {
		out.Kept = append(out.Kept, Kept{KindOptOut.String(), kept, "the duty not to write to who opted out: GDPR Art. 21(3) with 17(3)(b), 47 CFR 64.1200(d)(6)", until})
	}
	return out, nil
}

// Swept is what a sweep removed, by kind of record.
type Swept map[string]int

// Sweep removes what is older than the rules keep it: double opt-ins that nobody confirmed, proofs of consent that ended, opt-outs of
// the forgotten, and texts that no record names any more. Of a Shared store it also takes back imports that were cut off a day ago, and
// orders to forget that are as old. An operator has it run once a day.
func (l *Ledger) Sweep(ctx context.Context, now time.Time) (Swept, error) {
	keep, swept := l.rules.Load().Retention, Swept{}
	if err := l.undoImports(ctx, func(_ []byte, began time.Time) bool { return now.Sub(began) > day && l.shared != nil }); err != nil {
		return nil, err
	}
	var old []Change
	err := l.store.Scan(ctx, KindOptOut, nil, func(key, value []byte) error {
		if value[8]&flagForgotten != 0 && now.Sub(sinceOf(value)) > keep.Forgotten {
			old = append(old, Change{Kind: KindOptOut, Key: bytes.Clone(key)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = l.store.Scan(ctx, KindMessage, nil, func(key, value []byte) error {
		if now.Sub(sinceOf(value)) > keep.Messages {
			old = append(old, Change{Kind: KindMessage, Key: bytes.Clone(key)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = l.store.Scan(ctx, KindForget, nil, func(key, _ []byte) error {
		if now.Sub(sinceOf(key)) > ordersKept {
			old = append(old, Change{Kind: KindForget, Key: bytes.Clone(key)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	proofs, err := l.oldProofs(ctx, now, keep)
	if err != nil {
		return nil, err
	}
	old = append(old, proofs...)
	for chunk := range slices.Chunk(old, l.atOnce) {
		if err := l.drop(ctx, chunk, swept); err != nil {
			return swept, err
		}
	}
	return swept, l.sweepTexts(ctx, swept)
}

// drop removes records, and out of memory what they stood for.
func (l *Ledger) drop(ctx context.Context, old []Change, swept Swept) error {
	l.bulk.Lock()
	defer l.bulk.Unlock()
	return l.dropHeld(ctx, old, swept)
}

// dropHeld is drop while all changes wait.
func (l *Ledger) dropHeld(ctx context.Context, old []Change, swept Swept) error {
	if err := l.store.Apply(ctx, old...); err != nil {
		return err
	}
	for _, c := range old {
		swept[c.Kind.String()]++
		if c.Kind != KindOptOut && c.Kind != KindGrant {
			continue
		}
		if err := l.Absorb(c); err != nil {
			return err
		}
	}
	return nil
}

// oldProofs are records of persons whose consent for an account ended long ago, or never began.
func (l *Ledger) oldProofs(ctx context.Context, now time.Time, keep Retention) (old []Change, err error) {
	type story struct {
		keys []Change
		last Record
	}
	var of person
	stories := map[string]*story{} // by account
	flush := func() {
		for account, s := range stories {
			limit, since := keep.Proof, s.last.At
			if s.last.Event == Asked {
				limit, since = keep.Unconfirmed, s.last.ConfirmBy
			}
			grants := l.grantsOf(of, Scope{Account: account})
			// Consent that is in force keeps its proofs. After STOP it waits for START, but not for ever.
			if now.Sub(since) <= limit || len(grants) > 0 && s.last.Event != Withdrawn {
				continue
			}
			old = append(old, s.keys...)
			for _, g := range grants {
				old = append(old, Change{Kind: KindGrant, Key: l.scopes.place(g.scope).append(of.append(nil))})
			}
		}
		clear(stories)
	}
	err = l.store.Scan(ctx, KindProof, nil, func(key, value []byte) error {
		p, _, err := readPerson(key)
		if err != nil {
			return err
		}
		if p != of {
			flush()
			of = p
		}
		var r Record
		if err := json.Unmarshal(value, &r); err != nil {
			return errors.New("consent: a proof is not one that sendgate wrote")
		}
		s := stories[r.Account]
		if s == nil {
			s = new(story)
			stories[r.Account] = s
		}
		s.keys, s.last = append(s.keys, Change{Kind: KindProof, Key: bytes.Clone(key)}), r
		return nil
	})
	flush()
	return old, err
}

// sweepTexts removes texts that no proof names. Bulk changes wait, and so does everybody else: a text comes with its proof. Where others
// change the store, one of them may name a text at this moment: then it is put back.
func (l *Ledger) sweepTexts(ctx context.Context, swept Swept) error {
	l.bulk.Lock()
	defer l.bulk.Unlock()
	named, err := l.namedTexts(ctx)
	if err != nil {
		return err
	}
	var old, back []Change
	err = l.store.Scan(ctx, KindText, nil, func(key, text []byte) error {
		if !named[string(key)] {
			old = append(old, Change{Kind: KindText, Key: bytes.Clone(key)})
			back = append(back, Change{KindText, bytes.Clone(key), bytes.Clone(text)})
		}
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	if err := l.store.Apply(ctx, old...); err != nil {
		return err
	}
	if l.shared != nil {
		if named, err = l.namedTexts(ctx); err != nil {
			return errors.Join(err, l.store.Apply(ctx, back...))
		}
		back = slices.DeleteFunc(back, func(c Change) bool { return !named[string(c.Key)] })
		if err := l.store.Apply(ctx, back...); err != nil {
			return err
		}
		swept[KindText.String()] -= len(back)
	}
	swept[KindText.String()] += len(old)
	return nil
}

// namedTexts are the keys of texts that proofs name.
func (l *Ledger) namedTexts(ctx context.Context) (map[string]bool, error) {
	named := map[string]bool{}
	return named, l.store.Scan(ctx, KindProof, nil, func(_, value []byte) error {
		var r Record
		if err := json.Unmarshal(value, &r); err != nil {
			return errors.New("consent: a proof is not one that sendgate wrote")
		}
		id, err := hex.DecodeString(r.TextID)
		if err == nil && len(id) > 0 {
			named[string(id)] = true
		}
		return nil
	})
}

// Due is consent that has to be given again.
type Due struct {
	Subject          string // see Ledger.Subject
	Scope            Scope
	Purpose, Channel string
	Since, At        time.Time // when it was given, and when it is due
}

// Due calls each for consent that is due at a time, which may lie ahead, until it returns an error.
func (l *Ledger) Due(ctx context.Context, at time.Time, each func(Due) error) error {
	r := l.rules.Load()
	return l.store.Scan(ctx, KindGrant, nil, func(key, value []byte) error {
		since := sinceOf(value)
		if !r.due(since, at) {
			return nil
		}
		p, rest, err := readPerson(key)
		if err != nil {
			return err
		}
		w, err := readPlace(rest)
		if err != nil {
			return err
		}
		return each(Due{p.String(), w.Scope, w.purpose, w.channel, since, since.AddDate(0, r.ReconfirmAfter, 0)})
	})
}

// Report is what there is, without a word about anybody.
type Report struct {
	// Records are by kind; Secrets are how many of them each secret sealed, by its name, the newest one's first.
	Records map[string]int `json:"records"`
	Secrets []SecretUse    `json:"secrets"`
	// Oldest is the time of the oldest record of each kind.
	Oldest map[string]time.Time `json:"oldest"`
	// Memory is what the tables take, in bytes.
	Memory    int       `json:"memory_bytes"`
	Retention Retention `json:"retention"`
}

// SecretUse is how much a secret still holds. An old one with 0 can be dropped.
type SecretUse struct {
	Secret  string `json:"secret"`
	Records int    `json:"records"`
}

// Report counts every record.
func (l *Ledger) Report(ctx context.Context) (Report, error) {
	out := Report{Records: map[string]int{}, Oldest: map[string]time.Time{}, Retention: l.rules.Load().Retention}
	use := map[keyID]int{}
	for _, kind := range Kinds() {
		err := l.store.Scan(ctx, kind, nil, func(key, value []byte) error {
			out.Records[kind.String()]++
			var at time.Time
			switch kind {
			case KindOptOut, KindGrant, KindMessage:
				at = sinceOf(value)
			case KindProof:
				at = time.Unix(0, int64(binary.BigEndian.Uint64(key[personSize:]))).UTC()
			default:
				return nil
			}
			p, _, err := readPerson(key)
			use[p.key]++
			if old, ok := out.Oldest[kind.String()]; !ok || at.Before(old) {
				out.Oldest[kind.String()] = at
			}
			return err
		})
		if err != nil {
			return out, err
		}
	}
	for _, s := range l.sealers {
		out.Secrets = append(out.Secrets, SecretUse{hex.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(s.id))), use[s.id]})
	}
	_, a := l.outs.size()
	_, b := l.grants.size()
	out.Memory = a + b
	return out, nil
}

// Evidence writes what happened with a number as JSON, for whoever has to prove it. The file holds no number: whoever gives it away
// says whose it is.
func (l *Ledger) Evidence(ctx context.Context, now time.Time, n phone.Number, to io.Writer) error {
	history, err := l.History(ctx, n)
	if err != nil {
		return err
	}
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	return out.Encode(struct {
		Subject string    `json:"subject"`
		Made    time.Time `json:"made"`
		Records []Record  `json:"records"`
	}{l.Subject(n), now.UTC(), history})
}
