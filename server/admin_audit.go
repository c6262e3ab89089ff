package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/internal/clientip"
	"github.com/sendgate/sendgate/internal/phone"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// auditEntry is one line about a change by an operator. No number is in it in clear.
type auditEntry struct {
	Time    time.Time `json:"t"`
	Change  string    `json:"change"` // list_add, list_remove or reset_key
	Author  string    `json:"author"`
	Reason  string    `json:"reason"`
	List    string    `json:"list,omitempty"`
	Account string    `json:"account,omitempty"`
	Rule    string    `json:"rule,omitempty"`
	Values  []string  `json:"values,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Failed  string    `json:"failed,omitempty"` // a second line, where the change was not made after all
}

// auditLog is where changes are told. There is no change without its line.
type auditLog struct {
	out io.Writer // nil: only the log of the process
	log *slog.Logger
}

// around writes the line, makes the change, and says so if it was not made.
func (l *auditLog) around(e *auditEntry, change func() error) error {
	if err := l.write(e); err != nil {
		return fmt.Errorf("nothing was changed: audit log: %w", err)
	}
	err := change()
	if err == nil {
		l.log.Info("changed by an operator", "change", e.Change, "author", e.Author, "reason", e.Reason, "list", e.List, "rule", e.Rule, "values", len(e.Values))
		return nil
	}
	e.Failed = "not made"
	return errors.Join(err, l.write(e))
}

func (l *auditLog) write(e *auditEntry) error {
	if l.out == nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = l.out.Write(append(line, '\n'))
	return err
}

// maskedKey is a key as an audit may keep it.
func maskedKey(in *sendgatev1.ResetKeyRequest) []string {
	var parts []string
	if in.Number != "" {
		n, _ := phone.Parse(in.Number, "")
		masked := n.String()
		if n.IsZero() {
			masked = "a number in a national spelling"
		}
		parts = append(parts, "number="+masked)
	}
	if in.ClientAddress != "" {
		if r, err := clientip.New(clientip.Config{}); err == nil {
			if addr, err := r.Resolve(netip.Addr{}, in.ClientAddress, nil); err == nil {
				parts = append(parts, "client="+addr.String())
			}
		}
	}
	for _, p := range [...][2]string{{"subaccount", in.Subaccount}, {"endpoint", in.Endpoint}} {
		if p[1] != "" && !fullNumber.MatchString(p[1]) {
			parts = append(parts, p[0]+"="+audit.Clean(p[1]))
		}
	}
	return parts
}
