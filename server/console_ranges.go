package server

import (
	"strconv"

	"github.com/sendgate/sendgate/detect"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// rangeMasked is how many last digits the key of a rangeCount leaves out. The last digit of what it counts by is three: no place on a
// map is fewer than a thousand numbers.
const rangeMasked = 5

// rangeCount counts sends by the next two digits, fading. A number is told from a longer one by its key, which is longer too.
type rangeCount struct {
	asked, refused [100]float32
	total          float32
}

// fade takes off a little, and says whether anything is left to keep.
func (r *rangeCount) fade() bool {
	for i := range r.asked {
		r.asked[i] *= fade
		r.refused[i] *= fade
	}
	r.total *= fade
	return r.total > .5
}

// countRange counts a send by where in the numbers it goes.
func (b *Board) countRange(digits uint64, refused bool, weight float32) {
	if weight == 0 || digits < 1e7 { // its ranges would be a country, or nothing
		return
	}
	key, place := digits/1e5, digits/1e3%100
	r := b.ranges.rows[key]
	if r == nil {
		r = new(rangeCount)
		b.ranges.set(key, r)
	}
	r.asked[place] += weight
	r.total += weight
	if refused {
		r.refused[place] += weight
	}
}

// rangeMap draws the map of all numbers that begin with these digits, of which so many last ones are left out: 5 or 6. b is locked.
func (b *Board) rangeMap(digits uint64, masked int) *sendgatev1.BoardMap {
	m := &sendgatev1.BoardMap{Range: "+" + strconv.FormatUint(digits, 10) + "******"[:masked], Masked: int32(masked - 2),
		Asked: make([]uint32, 100), Refused: make([]uint32, 100)}
	if masked == rangeMasked {
		if r := b.ranges.rows[digits]; r != nil {
			for i := range r.asked {
				m.Asked[i], m.Refused[i] = uint32(r.asked[i]+.5), uint32(r.refused[i]+.5)
			}
		}
		return m
	}
	for tens := range uint64(10) { // ten ranges of five, of which each gives ten places
		r := b.ranges.rows[digits*10+tens]
		for i := 0; r != nil && i < 10; i++ {
			var asked, refused float32
			for j := range 10 {
				asked += r.asked[10*i+j]
				refused += r.refused[10*i+j]
			}
			m.Asked[int(tens)*10+i], m.Refused[int(tens)*10+i] = uint32(asked+.5), uint32(refused+.5)
		}
	}
	return m
}

// parentOf is the range that a map around a subject has.
func parentOf(s detect.Subject, masked int) uint64 {
	d := s.Digits
	for m := s.Scope.Masked(); m < masked; m++ {
		d /= 10
	}
	return d
}

// placesOf are the places on a map of so many masked digits that a subject covers.
func placesOf(s detect.Subject, masked int) []uint32 {
	own := s.Scope.Masked()
	if own >= masked { // all of it
		own = masked
	}
	first, count := uint64(0), 1
	switch cell := masked - 2; {
	case own == masked:
		count = 100
	case own == cell+1:
		first, count = s.Digits%10*10, 10
	default:
		d := s.Digits
		for m := own; m < cell; m++ {
			d /= 10
		}
		first = d % 100
	}
	return placesFrom(uint32(first), count)
}

func placesFrom(first uint32, count int) []uint32 {
	out := make([]uint32, count)
	for i := range out {
		out[i] = first + uint32(i)
	}
	return out
}
