package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"strconv"
	"time"
)

// seal is what ties a line to the one before it: half of an HMAC-SHA-256, which is as long as anything here can be attacked.
type seal [sha256.Size / 2]byte

func (s seal) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes a seal in hex.
func (s seal) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads what MarshalText writes. Capital letters would be another text of the same seal, and a change that does not show.
func (s *seal) UnmarshalText(text []byte) error {
	if len(text) != 2*len(s) || bytes.ContainsAny(text, "ABCDEF") {
		return errors.New("a seal has 32 hex digits, in small letters")
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// sealer makes seals with one secret. It is for one goroutine.
type sealer struct {
	mac hash.Hash
	id  string // names the secret without telling it
	sum [sha256.Size]byte
}

func newSealer(secret []byte) *sealer {
	s := &sealer{mac: hmac.New(sha256.New, derive(secret, "chain"))}
	s.id = hex.EncodeToString(derive(secret, "name of the chain's key")[:4])
	return s
}

// derive makes a key for one purpose from the secret.
func derive(secret []byte, purpose string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("sendgate audit v1: " + purpose))
	return m.Sum(nil)
}

func (s *sealer) seal(before seal, text []byte) (out seal) {
	s.mac.Reset()
	s.mac.Write(before[:])
	s.mac.Write(text)
	copy(out[:], s.mac.Sum(s.sum[:0]))
	return out
}

// Record is one line.
type Record struct {
	Seq  uint64          `json:"seq"` // counts lines from 1, over all files
	Time time.Time       `json:"t"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data,omitempty"`
}

// The kinds of records that a Log writes itself. Others are their writers' words; see [Trail].
const (
	// KindFile begins each file.
	KindFile = "file"
	// KindDropped says how many records were not written, and why.
	KindDropped = "dropped"
	// KindTorn says that the last line of an earlier life was only half written and was taken off.
	KindTorn = "torn"
	// KindLost says that lines which had been on the disk were gone at a start.
	KindLost = "lost"
	// KindRetired says that old files were removed, as configured.
	KindRetired = "retired"
)

// fileHead is the data of KindFile.
type fileHead struct {
	Version int    `json:"version"`
	Key     string `json:"key"`
	Before  seal   `json:"before"` // the last seal of the file before
}

const (
	formatVersion = 1
	// maxLine is the longest line, in bytes.
	maxLine = 1 << 20
	// maxSeq is further than any log gets: what says more is nonsense.
	maxSeq = 1 << 62
	// sealField ends a line: it, the seal in hex, a quote and a brace.
	sealField = `,"seal":"`
	tailSize  = len(sealField) + 2*len(seal{}) + len(`"}`)
)

var errTooLong = errors.New("audit: a record of more than 1 MiB: split it")

// appendLine appends a sealed line. data is JSON or empty.
func (s *sealer) appendLine(b []byte, before seal, seq uint64, at time.Time, kind string, data []byte) ([]byte, seal, error) {
	start := len(b)
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, `,"t":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","kind":"`...)
	b = append(b, kind...)
	b = append(b, '"')
	if len(data) > 0 {
		b = append(append(b, `,"data":`...), data...)
	}
	if len(b)-start+tailSize > maxLine {
		return b[:start], before, errTooLong
	}
	now := s.seal(before, b[start:])
	b = append(b, sealField...)
	b = hex.AppendEncode(b, now[:])
	return append(b, "\"}\n"...), now, nil
}

// A line as it was read.
type line struct {
	Record
	text []byte // what was sealed
	seal seal
}

var errNoLine = errors.New("not a line of an audit log")

// parseLine reads a line without its end.
func parseLine(b []byte) (l line, err error) {
	at := len(b) - tailSize
	if at < 0 || !bytes.HasPrefix(b[at:], []byte(sealField)) || !bytes.HasSuffix(b, []byte(`"}`)) {
		return line{}, errNoLine
	}
	if l.seal.UnmarshalText(b[at+len(sealField):len(b)-2]) != nil {
		return line{}, errNoLine
	}
	l.text = b[:at]
	if json.Unmarshal(b, &l.Record) != nil || l.Seq == 0 || l.Seq > maxSeq || l.Kind == "" {
		return line{}, errNoLine
	}
	return l, nil
}

func (l *line) sealedBy(s *sealer, before seal) bool {
	want := s.seal(before, l.text)
	return hmac.Equal(want[:], l.seal[:])
}
