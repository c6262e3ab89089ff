package mapped

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
)

// Kind tells the files of one table from all others.
type Kind struct {
	Magic   string // 8 bytes
	Version uint32 // of what lies behind the header; another version is refused
	// Plan is what a new file remembers of how its table divides it: at most MaxPlan bytes, kept with the header under one checksum.
	Plan []byte
}

// MaxPlan is the longest plan, in bytes.
const MaxPlan = 1024

// The first page of a file is its header, written once, little-endian:
//
//	0   magic      8 bytes
//	8   version    uint32
//	12  plan       uint32, its length
//	16  size       uint64, of the file
//	24  seed       32 bytes
//	56  checksum   uint64, of all before it and the plan
//	64  the plan
type header struct {
	kind Kind
	size int64
	seed [32]byte
}

const headerLen = 64

func checksum(b, plan []byte) uint64 {
	table := crc64.MakeTable(crc64.ECMA)
	return crc64.Update(crc64.Checksum(b, table), table, plan)
}

func (h header) marshal() []byte {
	b := make([]byte, 0, headerLen+len(h.kind.Plan))
	b = append(b, h.kind.Magic[:8]...)
	b = binary.LittleEndian.AppendUint32(b, h.kind.Version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.kind.Plan)))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	b = append(b, h.seed[:]...)
	b = binary.LittleEndian.AppendUint64(b, checksum(b, h.kind.Plan))
	return append(b, h.kind.Plan...)
}

// parse reads the header of a file of this kind, with the plan that the file was made with. The version is told before the checksum: another version may have put it elsewhere.
func parse(b []byte, fileSize int64, kind Kind) (h header, err error) {
	if len(b) < 12 || string(b[:8]) != kind.Magic {
		return h, ErrForeign
	}
	h.kind = Kind{Magic: string(b[:8]), Version: binary.LittleEndian.Uint32(b[8:])}
	if h.kind.Version != kind.Version {
		return h, fmt.Errorf("%w: format %d, this one reads %d", ErrVersion, h.kind.Version, kind.Version)
	}
	if len(b) < headerLen {
		return h, ErrTruncated
	}
	plan := b[headerLen:]
	if n := binary.LittleEndian.Uint32(b[12:]); n > MaxPlan {
		return h, ErrTorn
	} else if plan = plan[:min(int(n), len(plan))]; len(plan) < int(n) {
		return h, ErrTruncated
	}
	if binary.LittleEndian.Uint64(b[56:]) != checksum(b[:56], plan) {
		return h, ErrTorn
	}
	h.kind.Plan = append(h.kind.Plan, plan...)
	h.size = int64(binary.LittleEndian.Uint64(b[16:]))
	copy(h.seed[:], b[24:])
	if h.size != fileSize || h.size < Page+MinSize || h.size > Page+MaxSize || h.size%Page != 0 {
		return h, fmt.Errorf("%w: %d bytes instead of %d", ErrTruncated, fileSize, h.size)
	}
	return h, nil
}
