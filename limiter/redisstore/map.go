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

// Item is one field of a Map.
type Item struct {
	Field string
	Value []byte
}

// Cursor is how far a Map was read. The zero Cursor is its beginning. Epoch is another when the server has lost the map.
type Cursor struct {
	Epoch string
	Rev   int64
}

// StampSize is the bytes of a stamp.
const StampSize = 8

//go:embed map.lua
var mapSource string

// Map returns the map of a name.
func (s *Store) Map(name string) *Map {
	return &Map{s: s, keys: []string{s.named(name, "map"), s.named(name, "rev")}}
}

// Put puts items. It may be repeated.
func (m *Map) Put(ctx context.Context, items []Item) error {
	args := make([]string, 1, 2+2*len(items))
	args[0] = "put"
	args = append(args, rand.Text())
	for _, it := range items {
		if it.Field == "" || len(it.Value) < StampSize {
			return fmt.Errorf("redisstore: map: field %q has a value of %d bytes: write a name, and a stamp first", it.Field, len(it.Value))
		}
		args = append(args, it.Field, rueidis.BinaryString(it.Value))
	}
	return m.s.beside(ctx, m.keys[0], besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		return m.s.mapScript.Exec(ctx, c, m.keys, args).Error()
	})
}

// After reads up to 500 items that were put after a cursor, in the order in which they were put last, and where to go on. Where
// the epoch of that is another than the cursor's, what was read before may be lost on the server, and reading begins anew.
func (m *Map) After(ctx context.Context, at Cursor) (items []Item, next Cursor, err error) {
	err = m.s.beside(ctx, m.keys[0], besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		got, err := m.s.mapScript.Exec(ctx, c, m.keys, []string{"get", at.Epoch, fmt.Sprint(at.Rev)}).ToArray()
		if err != nil {
			return err
		}
		if len(got) < 2 || len(got)%2 != 0 {
			return fmt.Errorf("an answer of %d parts", len(got))
		}
		if next.Epoch, err = got[0].ToString(); err != nil {
			return err
		}
		if next.Rev, err = got[1].AsInt64(); err != nil {
			return err
		}
		for i := 2; i < len(got); i += 2 {
			field, err := got[i].ToString()
			if err != nil {
				return err
			}
			value, err := got[i+1].AsBytes()
			if err != nil {
				return err
			}
			items = append(items, Item{field, value})
		}
		return nil
	})
	return items, next, err
}
