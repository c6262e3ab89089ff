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
}

// The first page of a file is its header, written once, little-endian:
//
//	0   magic      8 bytes
//	8   version    uint32
//	12  zero       uint32
//	16  size       uint64, of the file
//	24  seed       32 bytes
//	56  checksum   uint64, of all before it
type header struct {
	kind Kind
	size int64
	seed [32]byte
}

const headerLen = 64

func checksum(b []byte) uint64 { return crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)) }

func (h header) marshal() []byte {
	b := make([]byte, 0, headerLen)
	b = append(b, h.kind.Magic[:8]...)
	b = binary.LittleEndian.AppendUint32(b, h.kind.Version)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	b = append(b, h.seed[:]...)
	return binary.LittleEndian.AppendUint64(b, checksum(b))
}

// parse reads the header of a file of this kind. The version is told before the checksum: another version may have put it elsewhere.
func parse(b []byte, fileSize int64, kind Kind) (h header, err error) {
	if len(b) < 12 || string(b[:8]) != kind.Magic {
		return h, ErrForeign
	}
	h.kind = Kind{Magic: string(b[:8]), Version: binary.LittleEndian.Uint32(b[8:])}
	if h.kind != kind {
		return h, fmt.Errorf("%w: format %d, this one reads %d", ErrVersion, h.kind.Version, kind.Version)
	}
	if len(b) < headerLen {
		return h, ErrTruncated
	}
	if binary.LittleEndian.Uint64(b[56:]) != checksum(b[:56]) || binary.LittleEndian.Uint32(b[12:]) != 0 {
		return h, ErrTorn
	}
	h.size = int64(binary.LittleEndian.Uint64(b[16:]))
	copy(h.seed[:], b[24:])
	if h.size != fileSize || h.size < Page+MinSize || h.size > Page+MaxSize || h.size%Page != 0 {
		return h, fmt.Errorf("%w: %d bytes instead of %d", ErrTruncated, fileSize, h.size)
	}
	return h, nil
}
