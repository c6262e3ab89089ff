package alert

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"
)

// deadLetters keeps what could not be delivered, a JSON object a line with the message as it was. When the file has grown too large
// it becomes FILE.old, which is replaced.
type deadLetters struct {
	mu   sync.Mutex
	path string
}

const largestDead = 10 << 20

func (d *deadLetters) add(at time.Time, l letter, why error) error {
	if d.path == "" {
		return nil
	}
	line, err := json.Marshal(struct {
		T       time.Time       `json:"t"`
		ID      string          `json:"id"`
		Error   string          `json:"error"`
		Message json.RawMessage `json:"message"`
	}{at.UTC(), l.id, why.Error(), l.body})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if info, err := os.Stat(d.path); err == nil && info.Size() > largestDead {
		if err := os.Rename(d.path, d.path+".old"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
