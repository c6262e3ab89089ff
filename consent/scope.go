package consent

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Scope is who may not write, or may. An empty Account is every account, an empty Sender every sender of the account.
type Scope struct {
	Account string
	// Sender is what people see as the writer, and answer to: a number of our own, a short code, a name, an agent.
	Sender string
}

const maxName = 256 // bytes of an account or a sender

// covers says that what holds in the scope holds for a send. A send that does not say who sends it is from anybody.
func (s Scope) covers(of Scope) bool {
	return (s.Account == "" || of.Account == "" || s.Account == of.Account) && (s.Sender == "" || of.Sender == "" || s.Sender == of.Sender)
}

func (s Scope) check() error {
	for field, text := range map[string]string{"account": s.Account, "sender": s.Sender} {
		if len(text) > maxName || strings.ContainsRune(text, 0) {
			return fmt.Errorf("consent: %s: %d bytes: write %d at most, without a zero byte", field, len(text), maxName)
		}
	}
	return nil
}

// append writes a scope behind a person to make a key.
func (s place) append(b []byte) []byte {
	for i, text := range []string{s.Account, s.Sender, s.purpose, s.channel} {
		if i > 0 {
			b = append(b, 0)
		}
		b = append(b, text...)
	}
	return b
}

func readPlace(b []byte) (place, error) {
	part := bytes.Split(b, []byte{0})
	if len(part) != 4 {
		return place{}, errors.New("consent: a record's key has no scope")
	}
	return place{Scope{string(part[0]), string(part[1])}, string(part[2]), string(part[3])}, nil
}

// place is a scope, and for consent what may be written there, and how.
type place struct {
	Scope
	purpose, channel string
}

// scopeID stands for a place in a slot. 0 is none.
type scopeID uint32

// scopes number the places. There are as many as senders, so they are never taken out.
type scopes struct {
	mu    sync.Mutex
	ids   map[place]scopeID
	names atomic.Pointer[[]place] // by id - 1; what is there never changes
}

func (s *scopes) id(p place) scopeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.ids[p]; ok {
		return id
	}
	if s.ids == nil {
		s.ids = make(map[place]scopeID)
		s.names.Store(new([]place))
	}
	// Readers of the old slice do not look behind its end.
	names := append(*s.names.Load(), p)
	s.names.Store(&names)
	s.ids[p] = scopeID(len(names))
	return s.ids[p]
}

// place is what an id from a slot stands for.
func (s *scopes) place(id scopeID) *place { return &(*s.names.Load())[id-1] }
