package consent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/sendgate/sendgate/consent/keyword"
	"github.com/sendgate/sendgate/internal/phone"
)

// Inbound is a message from a person.
type Inbound struct {
	At     time.Time
	Number phone.Number // who wrote it
	Scope  Scope        // to whom
	Text   string
	// Postback is what a button of RCS or WhatsApp sent, in the place of Text.
	Postback string
	// Reference is the platform's id of the message. A hash of it is kept as evidence, because some platforms write the person's number
	// into it. A keyword counts once by it: who posts an old START again changes nothing.
	Reference string
}

// Heard is what an inbound message did.
type Heard struct {
	keyword.Match
	// Changed says that the number went out or came back by it, or confirmed.
	Changed bool
	// Out says that the number is out of this sender now.
	Out bool
	// Again says that the message was heard before, and did nothing now.
	Again bool
	// Reply is what to answer, once; "" for nothing.
	Reply string
}

// Hear reads a message and does what it asks for before it returns a reply. A person who is out already is not told again: 47
// CFR 64.1200(a)(12) allows one text that confirms.
func (l *Ledger) Hear(ctx context.Context, in Inbound) (Heard, error) {
	rules := l.rules.Load()
	voice := rules.voice(in.Scope)
	var h Heard
	if in.Reference != "" {
		sum := sha256.Sum256([]byte(in.Reference))
		in.Reference = "sha256:" + hex.EncodeToString(sum[:16])
	}
	source := SourceKeyword
	if in.Postback != "" {
		source = SourceButton
		h.Match = voice.Book.Postback(in.Postback)
	} else {
		h.Match = voice.Book.Match(in.Text)
	}
	// Only the keyword is kept of what was written: the rest may name people.
	words := h.Word
	if words == "" {
		words = h.Action.String()
	}
	r := Record{At: in.At, Account: in.Scope.Account, Sender: in.Scope.Sender, Source: source, Text: words, Reference: in.Reference}
	reply := h.Match
	var err error
	if h.Again, err = l.heard(ctx, &in, h.Action); err != nil {
		return Heard{}, err
	}
	if h.Again {
		_, h.Out = l.OptedOut(in.Number, in.Scope)
		return h, nil
	}
	switch h.Action {
	case keyword.OptOut:
		_, before := l.OptedOut(in.Number, in.Scope)
		if h.All || !rules.BySender {
			r.Sender = ""
		}
		h.Changed, err = l.OptOut(ctx, in.Number, r)
		h.Changed = h.Changed && !before
		if !h.Changed {
			reply.Action = keyword.None
		}
	case keyword.OptIn, keyword.Confirm:
		reply.Action = keyword.None
		_, err = l.Confirm(ctx, in.Number, r)
		if h.Changed = err == nil; errors.Is(err, ErrNothingAsked) {
			err = nil
		}
		if err == nil && h.Action == keyword.OptIn {
			var back bool
			back, h.Out, err = l.OptIn(ctx, in.Number, r)
			h.Changed = h.Changed || back
		}
		if h.Changed && !h.Out {
			reply.Action = keyword.OptIn
		}
	}
	if err == nil && !h.Changed && in.Reference != "" && asks(h.Action) {
		p := l.person(in.Number)
		err = l.store.Apply(ctx, heardOnce(p, in.Reference, in.At))
	}
	if err != nil {
		return Heard{}, err
	}
	_, h.Out = l.OptedOut(in.Number, in.Scope)
	if voice.Replies != nil {
		h.Reply = voice.Replies.For(reply)
	}
	return h, nil
}

// asks says that an action changes what may be sent.
func asks(a keyword.Action) bool {
	return a == keyword.OptOut || a == keyword.OptIn || a == keyword.Confirm
}

// heard says that a keyword was heard before. What names no message is always new.
func (l *Ledger) heard(ctx context.Context, in *Inbound, a keyword.Action) (again bool, err error) {
	if in.Reference == "" || !asks(a) {
		return false, nil
	}
	for _, s := range l.sealers {
		key := heardOnce(person{s.id, s.number(in.Number.Digits())}, in.Reference, in.At).Key
		err := l.store.Scan(ctx, KindMessage, key, func(_, _ []byte) error { again = true; return nil })
		if again || err != nil {
			return again, err
		}
	}
	return false, nil
}

// heardOnce remembers a message of a person. It is stored with what the message did, or the platform that posts it again after a
// crash would be told that it was done.
func heardOnce(p person, reference string, at time.Time) Change {
	sum := sha256.Sum256([]byte(reference))
	return Change{KindMessage, append(p.append(nil), sum[:16]...), grant(at)}
}
