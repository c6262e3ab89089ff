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
	for k := range b.saved { // what it would have cost is counted from when it began
		if groups[k] == nil {
			delete(b.saved, k)
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
	a := &sendgatev1.BoardAttack{Kind: k.kind.String(), Shadow: k.shadow, Blocks: int32(len(blocks)), Saved: b.saved[k]}
	if iso := k.country.String(); len(iso) == 2 && iso != "??" {
		a.Country = iso
	}
	first := blocks[0].Since
	for i, block := range blocks {
		s := &block.Signal
		a.Stopped += int64(block.Stopped)
		a.Sessions += int64(s.Sessions)
		a.Verified += int64(s.Verified)
		a.Expected += s.Expected
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
