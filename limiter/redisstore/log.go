package redisstore

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Log is what sidecars tell each other: a stream that all append to and all read. It keeps about the newest so many entries, and
// nothing once nobody has written for logLife.
type Log struct {
	s    *Store
	key  string
	keep int64
}

const (
	logLife = 10 * time.Minute
	// logRead is how many entries are read at a time.
	logRead = 256
)

// Log returns the log of a name, which keeps about so many entries.
func (s *Store) Log(name string, keep int) *Log {
	return &Log{s: s, key: s.named(name, "log"), keep: int64(keep)}
}

// End is the ID of the newest entry.
func (l *Log) End(ctx context.Context) (id string, err error) {
	id = "0-0"
	err = l.s.beside(ctx, l.key, besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		last, err := c.Do(ctx, c.B().Xrevrange().Key(l.key).End("+").Start("-").Count(1).Build()).AsXRange()
		if err == nil && len(last) == 1 {
			id = last[0].ID
		}
		return err
	})
	return id, err
}

// Exchange appends entries and calls got with those after an ID, own ones as well, up to 256: one round trip. It says how many they
// were. With an error it is not known which entries were appended.
func (l *Log) Exchange(ctx context.Context, entries [][]byte, after string, got func(id string, data []byte)) (n int, err error) {
	err = l.s.beside(ctx, l.key, besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		cmds := make([]rueidis.Completed, 0, len(entries)+2)
		for _, e := range entries {
			cmds = append(cmds, c.B().Xadd().Key(l.key).Maxlen().Almost().Threshold(strconv.FormatInt(l.keep, 10)).Id("*").
				FieldValue().FieldValue("b", rueidis.BinaryString(e)).Build())
		}
		if len(entries) > 0 {
			cmds = append(cmds, c.B().Pexpire().Key(l.key).Milliseconds(logLife.Milliseconds()).Build())
		}
		cmds = append(cmds, c.B().Xread().Count(logRead).Streams().Key(l.key).Id(after).Build())
		answers := c.DoMulti(ctx, cmds...)
		for _, a := range answers[:len(answers)-1] {
			if err := a.Error(); err != nil {
				return err
			}
		}
		read, err := answers[len(answers)-1].AsXRead()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		for _, e := range read[l.key] {
			n++
			got(e.ID, []byte(e.FieldValues["b"]))
		}
		return nil
	})
	return n, err
}
