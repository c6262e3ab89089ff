package redisstore

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"

	"github.com/redis/rueidis"
)

// Map is what sidecars know together and must not forget, such as lists made by hand: values by field. A value begins with a stamp
// of 8 bytes, big-endian and below 2^53; of two values for a field the one with the greater stamp stays, whatever the order in
// which they come, and of equal ones the first. Nothing is taken out: what is no more is a value that says so. It has no time to
// live.
type Map struct {
	s    *Store
	keys []string
}

// StampSize is the bytes of a stamp.
const StampSize = 8

//go:embed map.lua
var mapSource string

// Map returns the map of a name.
func (s *Store) Map(name string) *Map {
	return &Map{s: s, keys: []string{s.named(name, "map"), s.named(name, "rev")}}
}

// Put puts values by field, at most some hundred. It may be repeated.
func (m *Map) Put(ctx context.Context, fields []string, values [][]byte) error {
	args := append(make([]string, 0, 2+2*len(fields)), "put", rand.Text())
	for i, field := range fields {
		if field == "" || len(values[i]) < StampSize {
			return fmt.Errorf("redisstore: map: field %q has a value of %d bytes: write a name, and a stamp first", field, len(values[i]))
		}
		args = append(args, field, rueidis.BinaryString(values[i]))
	}
	return m.s.beside(ctx, m.keys[0], besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		return m.s.mapScript.Exec(ctx, c, m.keys, args).Error()
	})
}

// After calls got with up to 500 fields that were put after a revision, in the order in which they were put last, and says where to
// go on. The server draws an epoch for what it holds, "" where that is nothing. Where the epoch is another than the given one,
// what was read before may be lost on the server, and reading begins anew.
func (m *Map) After(ctx context.Context, epoch string, rev int64, got func(field string, value []byte)) (string, int64, error) {
	err := m.s.beside(ctx, m.keys[0], besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		all, err := m.s.mapScript.Exec(ctx, c, m.keys, []string{"get", epoch, fmt.Sprint(rev)}).ToArray()
		if err != nil {
			return err
		}
		if len(all) < 2 || len(all)%2 != 0 {
			return fmt.Errorf("an answer of %d parts", len(all))
		}
		newEpoch, err := all[0].ToString()
		if err != nil {
			return err
		}
		newRev, err := all[1].AsInt64()
		if err != nil {
			return err
		}
		for i := 2; i < len(all); i += 2 {
			field, err := all[i].ToString()
			if err != nil {
				return err
			}
			value, err := all[i+1].AsBytes()
			if err != nil {
				return err
			}
			got(field, value)
		}
		epoch, rev = newEpoch, newRev
		return nil
	})
	return epoch, rev, err
}
