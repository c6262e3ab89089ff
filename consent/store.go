package consent

import (
	"context"
	"errors"
	"fmt"
)

// Kind is what a record of a Store is about.
type Kind byte

// The kinds. Their numbers are on disk.
const (
	KindOptOut   Kind = 'o' // a person out of one scope
	KindGrant    Kind = 'g' // consent in force for one account, purpose and channel
	KindProof    Kind = 'p' // what happened, as evidence
	KindText     Kind = 't' // a text that was shown, once for all who saw it
	KindTemplate Kind = 'w' // the state of a message template
	KindMessage  Kind = 'm' // a keyword that was heard, so that it counts once
	KindImport   Kind = 'i' // an import that is not done
	KindForget   Kind = 'f' // a person to be forgotten by all who share the store, sealed
	KindPlace    Kind = 'c' // of a copy: how much it has of what it is a copy of
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{KindOptOut, KindGrant, KindProof, KindText, KindTemplate, KindMessage, KindImport, KindForget, KindPlace}
}

func (k Kind) String() string {
	switch k {
	case KindOptOut:
		return "opt_out"
	case KindGrant:
		return "grant"
	case KindProof:
		return "proof"
	case KindText:
		return "text"
	case KindTemplate:
		return "template"
	case KindMessage:
		return "message"
	case KindImport:
		return "import"
	case KindForget:
		return "forget"
	case KindPlace:
		return "place"
	}
	return "unknown"
}

// Change is one record that is written, or removed where Value is nil.
type Change struct {
	Kind       Kind
	Key, Value []byte
}

// Store keeps records where they outlive the process. Package consenttest holds what every Store has to do.
type Store interface {
	// Apply makes all changes, in their order, or none. When it returns nil they survive a crash of the machine. It is safe for
	// concurrent use; one caller's changes are made in the order of its calls.
	Apply(ctx context.Context, changes ...Change) error
	// Scan calls each for the records of a kind whose keys begin with prefix, in the order of their keys, until it returns an
	// error, which Scan returns. It sees what was applied before it began. The slices are valid during the call only, and each
	// must not use the Store.
	Scan(ctx context.Context, kind Kind, prefix []byte, each func(key, value []byte) error) error
	// Close waits for what is under way. Then every call is ErrClosed.
	Close() error
}

// ErrClosed is returned by a Store that was closed.
var ErrClosed = errors.New("consent: the store is closed")

// The longest key and value, in bytes.
const (
	MaxKey   = 1 << 10
	MaxValue = 1 << 16
)

// CheckChanges tells what is wrong with changes, for those who write a Store.
func CheckChanges(changes []Change) error {
	for _, c := range changes {
		switch {
		case c.Kind.String() == "unknown":
			return fmt.Errorf("consent: change of kind %d: use one of Kinds", c.Kind)
		case len(c.Key) == 0 || len(c.Key) > MaxKey:
			return fmt.Errorf("consent: change of %s: key of %d bytes: give 1 to %d", c.Kind, len(c.Key), MaxKey)
		case len(c.Value) > MaxValue:
			return fmt.Errorf("consent: change of %s: value of %d bytes: give %d at most", c.Kind, len(c.Value), MaxValue)
		}
	}
	return nil
}
