package policy

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/sendgate/sendgate/internal/clientip"
)

// Part is one part of a limit's key, as written in by.
type Part string

// The parts. Ranges are the number with its last digits masked; the client's tiers are the blocks it is in.
const (
	ByAccount    Part = "account"
	ByChannel    Part = "channel"
	ByClient     Part = "client"
	ByClient24   Part = "client/24" // IPv4 only
	ByClient48   Part = "client/48" // IPv6 only
	ByClient56   Part = "client/56" // IPv6 only
	ByCountry    Part = "country"
	ByEndpoint   Part = "endpoint"
	ByNumber     Part = "number"
	ByPurpose    Part = "purpose"
	ByRange2     Part = "range2"
	ByRange3     Part = "range3"
	ByRange4     Part = "range4"
	BySubaccount Part = "subaccount"
)

// parts in sorted order. A part's place here plus 1 is its tag in the key bytes, which stores keep: append, never reorder.
var parts = []Part{ByAccount, ByChannel, ByClient, ByClient24, ByClient48, ByClient56, ByCountry, ByEndpoint, ByNumber,
	ByPurpose, ByRange2, ByRange3, ByRange4, BySubaccount}

func (p Part) isClient() bool { return strings.HasPrefix(string(p), "client") }

// isShared says that many sends have the same value of this part, so that its keys are hot.
func (p Part) isShared() bool {
	return !p.isClient() && p != ByNumber && p != ByRange2 && p != ByRange3 && p != ByRange4
}

func groupName(by []Part) string {
	words := make([]string, len(by))
	for i, p := range by {
		words[i] = string(p)
	}
	return strings.Join(words, "+")
}

// group is a set of parts that some limits count by.
type group struct {
	by   []Part
	tags []byte
}

func newGroup(by []Part) group {
	g := group{by: by}
	for _, p := range by {
		g.tags = append(g.tags, byte(slices.Index(parts, p)+1))
	}
	return g
}

// appendKey appends tag, length and bytes of each part, so that ("ab", "c") and ("a", "bc") differ and so do equal bytes of
// two groups. It reports false when the send has no such key, which only a client address can cause: a name that is empty is
// a value like any other.
func (g *group) appendKey(b []byte, s *Send, c *ClientAddress, tier clientip.Tier) ([]byte, bool) {
	before := len(b)
	for i, part := range g.by {
		if part.isClient() {
			switch addr := s.Client.Unmap(); {
			case !addr.IsValid():
				if c.MissingClient != Bucket {
					return b[:before], false
				}
			case part == ByClient24 && !addr.Is4(), (part == ByClient48 || part == ByClient56) && addr.Is4():
				return b[:before], false
			}
		}
		// The length goes into this byte when it is known.
		b = append(b, g.tags[i], 0)
		start := len(b)
		switch part {
		case ByAccount:
			b = append(b, s.Account...)
		case ByChannel:
			b = append(b, s.Channel...)
		case ByClient:
			b = tier.AppendKey(b, s.Client)
		case ByClient24:
			b = clientip.AppendBlock(b, clientip.Block(s.Client, 24))
		case ByClient48:
			b = clientip.AppendBlock(b, clientip.Block(s.Client, 48))
		case ByClient56:
			b = clientip.AppendBlock(b, clientip.Block(s.Client, 56))
		case ByCountry:
			b = append(b, s.Country...)
		case ByEndpoint:
			b = append(b, s.Endpoint...)
		case ByNumber:
			b = binary.BigEndian.AppendUint64(b, s.Number.Digits())
		case ByPurpose:
			b = append(b, s.Purpose...)
		case ByRange2:
			b = binary.BigEndian.AppendUint64(b, s.Number.Range(2).Key())
		case ByRange3:
			b = binary.BigEndian.AppendUint64(b, s.Number.Range(3).Key())
		case ByRange4:
			b = binary.BigEndian.AppendUint64(b, s.Number.Range(4).Key())
		case BySubaccount:
			b = append(b, s.Subaccount...)
		}
		b = setLength(b, start)
	}
	return b, true
}

// setLength writes how long the part that begins at start is into the byte before it. Longer ones are rare: they move up to
// make room for more length bytes.
func setLength(b []byte, start int) []byte {
	n := len(b) - start
	if n < 0x80 {
		b[start-1] = byte(n)
		return b
	}
	var length [binary.MaxVarintLen64]byte
	w := binary.PutUvarint(length[:], uint64(n))
	b = append(b, length[1:w]...) // grow, then shift; what is appended is overwritten
	copy(b[start+w-1:], b[start:start+n])
	copy(b[start-1:], length[:w])
	return b
}
