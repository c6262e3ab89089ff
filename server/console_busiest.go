package server

import (
	"cmp"
	"slices"
)

// busiest keeps counts by key, those that were seen most. It is full at twice its size: then the lesser half goes at once, so that
// strangers who come once each cost little and put out none that comes often.
type busiest[K comparable, V any] struct {
	size   int
	weight func(V) float32
	rows   map[K]V
}

func newBusiest[K comparable, V any](size int, weight func(V) float32) *busiest[K, V] {
	return &busiest[K, V]{size: size, weight: weight, rows: make(map[K]V)}
}

// set puts in a count.
func (b *busiest[K, V]) set(k K, v V) {
	if _, known := b.rows[k]; !known && len(b.rows) >= 2*b.size {
		for _, k := range b.top(len(b.rows))[b.size:] {
			delete(b.rows, k)
		}
	}
	b.rows[k] = v
}

// top are the keys of the largest counts, the largest first.
func (b *busiest[K, V]) top(n int) []K {
	keys := make([]K, 0, len(b.rows))
	for k := range b.rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y K) int { return cmp.Compare(b.weight(b.rows[y]), b.weight(b.rows[x])) })
	return keys[:min(n, len(keys))]
}

// each changes every count, or drops it.
func (b *busiest[K, V]) each(change func(V) (V, bool)) {
	for k, v := range b.rows {
		if v, keep := change(v); keep {
			b.rows[k] = v
		} else {
			delete(b.rows, k)
		}
	}
}
