package server

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/detect"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// attackKey is what makes blocks one attack: the same kind in the same country, shadow or not.
type attackKey struct {
	kind    detect.Kind
	country detect.Country
	shadow  bool
}

func attackOf(s *detect.Signal) attackKey { return attackKey{s.Kind, s.Subject.Country, s.Shadow} }

// toll is what an attack met, counted once for each send, whatever blocks cover it. In shadow: what it would have met.
type toll struct{ stopped, saved int64 }

// tollsKept bounds the attacks that are counted. Those that are over make room every time the board is told.
const tollsKept = 512

// toll counts a send that detection decided, to the attack that the signal is of. b is locked.
func (b *Board) toll(s *detect.Signal, price int64) {
	k := attackOf(s)
	t := b.tolls[k]
	if t == nil {
		if len(b.tolls) >= tollsKept {
			return
		}
		t = new(toll)
		b.tolls[k] = t
	}
	t.stopped++
	t.saved += price
}

const (
	attacksShown  = 12
	evidenceShown = 8
	mapsShown     = 3
	blocksShown   = 100
)

// attacks puts blocks in force together.
func (b *Board) attacks(blocks []detect.Block) *sendgatev1.BoardAttacks {
	groups := make(map[attackKey][]*detect.Block)
	for i := range blocks {
		k := attackOf(&blocks[i].Signal)
		k.shadow = blocks[i].Shadow
		groups[k] = append(groups[k], &blocks[i])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.tolls {
		if groups[k] == nil { // it is over
			delete(b.tolls, k)
		}
	}
	out := new(sendgatev1.BoardAttacks)
	for k, group := range groups {
		out.Attacks = append(out.Attacks, b.attack(k, group))
	}
	slices.SortFunc(out.Attacks, func(x, y *sendgatev1.BoardAttack) int {
		return cmp.Or(cmp.Compare(y.Stopped, x.Stopped), strings.Compare(x.Kind, y.Kind), strings.Compare(x.Country, y.Country))
	})
	out.Attacks = out.Attacks[:min(len(out.Attacks), attacksShown)]
	return out
}

func (b *Board) attack(k attackKey, blocks []*detect.Block) *sendgatev1.BoardAttack {
	slices.SortFunc(blocks, func(x, y *detect.Block) int {
		return cmp.Or(cmp.Compare(y.Stopped, x.Stopped), cmp.Compare(x.ID, y.ID))
	})
	a := &sendgatev1.BoardAttack{Kind: k.kind.String(), Shadow: k.shadow, Blocks: int32(len(blocks))}
	if t := b.tolls[k]; t != nil {
		a.Stopped, a.Saved = t.stopped, t.saved
	}
	if iso := k.country.String(); len(iso) == 2 && iso != "??" {
		a.Country = iso
	}
	first := blocks[0].Since
	ranges := rangesOf(blocks)
	for i, block := range blocks {
		s := &block.Signal
		if !ranges.hold(block.Subject) { // whose sessions are told with the wider one
			a.Sessions += int64(s.Sessions)
			a.Verified += int64(s.Verified)
			a.Expected += s.Expected
		}
		if i < evidenceShown {
			_, words, _ := strings.Cut(s.String(), ": ") // without the kind
			a.Evidence = append(a.Evidence, words)
		}
		first = min(first, block.Since)
		if s.FirstSeen != 0 {
			first = min(first, s.FirstSeen)
		}
	}
	a.Since = timestamppb.New(time.Unix(0, first))
	a.Maps = b.attackMaps(blocks)
	return a
}

// rangeSet is ranges that are blocked.
type rangeSet map[rangeKey]bool

type rangeKey struct {
	digits uint64
	masked int
}

func rangesOf(blocks []*detect.Block) rangeSet {
	set := make(rangeSet)
	for _, b := range blocks {
		if m := b.Subject.Scope.Masked(); m > 0 {
			set[rangeKey{b.Subject.Digits, m}] = true
		}
	}
	return set
}

// hold says that a wider range than this one is in the set.
func (r rangeSet) hold(s detect.Subject) bool {
	digits := s.Digits
	for m := s.Scope.Masked(); m > 0 && m < detect.ScopeOperator.Masked(); m++ {
		digits /= 10
		if r[rangeKey{digits, m + 1}] {
			return true
		}
	}
	return false
}

// attackMaps draws where in the numbers the ranges of an attack are.
func (b *Board) attackMaps(blocks []*detect.Block) []*sendgatev1.BoardMap {
	masked := rangeMasked
	for _, block := range blocks {
		masked = max(masked, block.Subject.Scope.Masked())
	}
	maps := make(map[uint64]*sendgatev1.BoardMap)
	var whole []*sendgatev1.BoardMap
	for _, block := range blocks {
		if block.Subject.Scope.Masked() == 0 {
			continue
		}
		parent := parentOf(block.Subject, masked)
		m := maps[parent]
		if m == nil {
			m = b.rangeMap(parent, masked)
			maps[parent] = m
		}
		places := placesOf(block.Subject, masked)
		if len(places) == len(m.Asked) { // told by itself it would hide where in it the others are
			whole = append(whole, m)
			continue
		}
		for _, place := range places {
			if !slices.Contains(m.Blocked, place) {
				m.Blocked = append(m.Blocked, place)
			}
		}
	}
	for _, m := range whole {
		if len(m.Blocked) == 0 {
			m.Blocked = placesFrom(0, len(m.Asked))
		}
	}
	var out []*sendgatev1.BoardMap
	for _, m := range maps {
		slices.Sort(m.Blocked)
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y *sendgatev1.BoardMap) int {
		return cmp.Or(cmp.Compare(sum(y.Asked), sum(x.Asked)), strings.Compare(x.Range, y.Range))
	})
	return out[:min(len(out), mapsShown)]
}

func sum(counts []uint32) (all uint64) {
	for _, n := range counts {
		all += uint64(n)
	}
	return all
}
