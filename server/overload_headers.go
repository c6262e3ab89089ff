package server

import "golang.org/x/net/http2/hpack"

// calledMethods follows the header blocks of one connection, as far as it takes to tell which method a call is for: HPACK sends a path
// once and then a number that moves with each other entry. Values are skipped and not decoded, but for paths the first time; a block
// takes some 50 ns. gRPC decodes the same blocks for itself.
type calledMethods struct {
	added   uint64               // entries so far
	entries [tableEntries]pathIs // the newest, by number
}

// tableEntries is how many entries a table of HPACK's default size, 4096 bytes, can have: each counts 32 bytes more than it has.
const tableEntries = 128

// pathIs is what is known of a header field.
type pathIs uint8

const (
	noPath pathIs = iota // another field, or none
	kept                 // the path of a method that is never refused
	aCheck               // the path of one that may be
)

const staticEntries, rootPath, indexPath = 61, 4, 5

// block reads one whole header block. plain says that it may be decoded as the continuation of another. It fails for what is no
// header block; such a connection has no future.
func (m *calledMethods) block(b []byte) (path pathIs, plain, ok bool) {
	plain = true
	for len(b) > 0 {
		first := b[0]
		var n uint64
		switch {
		case first >= 0x80: // a field of the table
			if n, b, ok = prefixed(b, 7); !ok {
				return noPath, false, false
			}
			if is := m.entry(n); is != noPath {
				path = is
			}
			continue
		case first&0xe0 == 0x20: // the table's new size
			if _, b, ok = prefixed(b, 5); !ok {
				return noPath, false, false
			}
			plain = false
			continue
		case first >= 0x40: // a new field, for the table
			n, b, ok = prefixed(b, 6)
		default: // a new field, for this block alone
			n, b, ok = prefixed(b, 4)
		}
		is := noPath
		isPath := m.entry(n) != noPath
		if n == 0 && ok {
			var name text
			name, b, ok = nextText(b)
			isPath = ok && name.is(":path")
		}
		if !ok {
			return noPath, false, false
		}
		var value text
		if value, b, ok = nextText(b); !ok {
			return noPath, false, false
		}
		if isPath {
			is = value.path()
			path = is
		}
		if first >= 0x40 {
			m.entries[m.added%tableEntries] = is
			m.added++
		}
	}
	return path, plain, true
}

// entry is what is known of a field of the table: 61 are the same for everybody, then the newest comes first.
func (m *calledMethods) entry(n uint64) pathIs {
	if n == rootPath || n == indexPath {
		return kept
	}
	if n <= staticEntries || n-staticEntries > min(m.added, tableEntries) {
		return noPath
	}
	return m.entries[(m.added-(n-staticEntries))%tableEntries]
}

// prefixed reads a number that begins in the low bits of the first byte.
func prefixed(b []byte, bits uint) (n uint64, rest []byte, ok bool) {
	most := uint64(1)<<bits - 1
	if len(b) == 0 {
		return 0, nil, false
	}
	if n = uint64(b[0]) & most; n < most {
		return n, b[1:], true
	}
	for i := 1; i < len(b) && i <= 5; i++ { // no length or number of ours needs more than 35 bits
		n += uint64(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// text is a string as it was sent.
type text struct {
	raw     []byte
	huffman bool
}

func nextText(b []byte) (t text, rest []byte, ok bool) {
	t.huffman = len(b) > 0 && b[0] >= 0x80
	n, rest, ok := prefixed(b, 7)
	if !ok || n > uint64(len(rest)) {
		return text{}, nil, false
	}
	t.raw = rest[:n]
	return t, rest[n:], true
}

func (t text) is(s string) bool {
	if !t.huffman {
		return string(t.raw) == s
	}
	return hpack.HuffmanEncodeLength(s) == uint64(len(t.raw)) && t.decoded() == s
}

func (t text) decoded() string {
	if !t.huffman {
		return string(t.raw)
	}
	s, err := hpack.HuffmanDecodeToString(t.raw)
	if err != nil {
		return ""
	}
	return s
}

func (t text) path() pathIs {
	const longest = 256 // bytes; methods of ours are shorter
	if len(t.raw) > longest || !refusable(t.decoded()) {
		return kept
	}
	return aCheck
}
