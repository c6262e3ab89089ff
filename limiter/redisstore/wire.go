package redisstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"math"
	"sync"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// Everything that goes to the script or comes from it is packed big-endian, as its comment says.

// version is that of the values and the names of keys. Counters of another version are not read.
const version = "1"

// opcode says what the script does.
type opcode byte

const (
	opTake opcode = iota
	opPeek
	opRefund
	opGiveUp
	opReset
	opMark
	opSettle
)

// What the script knows a reading by, see there.
const (
	byServer byte = iota
	byCaller
	nearServer
)

// flag says what a token is for.
const (
	noToken byte = iota
	firstTry
	anotherTry
)

const (
	kindWindow = 1 + iota
	kindDelay
	kindMarker
)

const (
	// maxPast is how many buckets the window of a rule above limiter.MaxExact is cut into, as in the embedded table.
	maxPast = 58
	// tokenLife is for how long, beyond the timeout, an answer is remembered, and so a lost one can be asked for or given up.
	tokenLife = 10 * time.Second
)

// rule is the body of a limiter.Rule.
type rule struct {
	owner    *Store
	tag      [8]byte
	spec     []byte // what the script is told; the cost of a window goes to costAt
	kind     byte
	n        int64
	failOpen bool
	insists  bool
}

const costAt = 7

// firstAsked is where in ARGV the first of what a take asks of rules is.
const firstAsked = 3

func (s *Store) newRule(l limiter.Limit) *rule {
	r := &rule{owner: s, failOpen: l.FailOpen, n: l.N}
	h := s.sum([]byte("rule\x00" + string('0'+byte(l.Kind)) + l.Group + "\x00" + l.Name))
	base64.RawURLEncoding.Encode(r.tag[:], h[:6])
	switch l.Kind {
	case limiter.Window:
		width := int64(0)
		if l.N > limiter.MaxExact {
			width = (micros(l.Window) + maxPast - 1) / maxPast
		}
		r.kind, r.spec = kindWindow, []byte{kindWindow}
		for _, v := range []int64{l.N, 0, width, micros(l.Window)} {
			r.spec = append48(r.spec, v)
		}
	case limiter.Delay:
		b := l.Backoff
		r.kind, r.insists = kindDelay, b.Insist
		r.spec = binary.BigEndian.AppendUint16([]byte{kindDelay}, uint16(b.Free))
		r.spec = append48(r.spec, micros(b.Base))
		r.spec = binary.BigEndian.AppendUint64(r.spec, math.Float64bits(b.Factor))
		r.spec = append48(append48(r.spec, micros(b.Max)), micros(b.ForgetAfter))
		r.spec = binary.BigEndian.AppendUint64(r.spec, math.Float64bits(b.Jitter))
		r.spec = append(r.spec, byte(b.Stop), 0)
		if b.Insist {
			r.spec[len(r.spec)-1] = 1
		}
	default:
		r.kind, r.spec = kindMarker, []byte{kindMarker}
	}
	return r
}

// micros rounds a duration up, the strict side.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

func append48(b []byte, v int64) []byte {
	return append(b, byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func append56(b []byte, v int64) []byte { return append48(append(b, byte(v>>48)), v) }

func number(b string) (v int64) {
	for i := range len(b) {
		v = v<<8 | int64(b[i])
	}
	return v
}

// head is the first argument of the script.
type head struct {
	op   opcode
	flag byte
	now  reading
	arg  int64
}

func (s *Store) appendHead(b []byte, h head) []byte {
	clock := s.clock()
	if h.op == opRefund || h.op == opGiveUp || h.op == opSettle {
		clock = byCaller // at is what the script answered
	}
	b = append(b, byte(h.op), clock, h.now.frac())
	b = append48(append56(append56(b, h.now.lo), h.arg), micros(s.o.Slack))
	b = append(b, h.flag)
	return binary.BigEndian.AppendUint32(b, uint32((s.o.Timeout + tokenLife).Milliseconds()))
}

// command is one call of the script: names of keys and arguments.
type command struct {
	keys, args []string
}

// newCommand packs charges of one slot for what is no take. token is the name of a key, or "" for none.
func (s *Store) newCommand(h head, charges []limiter.Charge, token string) command {
	// One string holds all of them.
	b := make([]byte, 0, 40+len(charges)*(len(s.prefix)+32+40)+len(token))
	ends := make([]int, 0, 2*len(charges)+2)
	for i := range charges {
		b = s.appendName(b, &charges[i])
		ends = append(ends, len(b))
	}
	if token != "" {
		b = append(b, token...)
		ends = append(ends, len(b))
	}
	keys := len(ends)
	b = s.appendHead(b, h)
	ends = append(ends, len(b))
	for i := range charges {
		b = priced{body(charges[i].Rule), charges[i].Cost}.append(b)
		ends = append(ends, len(b))
	}
	all := string(b)
	parts, from := make([]string, len(ends)), 0
	for i, end := range ends {
		parts[i], from = all[from:end], end
	}
	return command{parts[:keys], parts[keys:]}
}

func (p priced) append(b []byte) []byte {
	at := len(b)
	b = append(b, p.rule.spec...)
	if p.rule.kind == kindWindow {
		append48(b[at+costAt:at+costAt:len(b)], p.cost)
	}
	return b
}

// again is the same command for another try.
func (c command) again() command {
	const flagAt = 3 + 7 + 7 + 6
	h := []byte(c.args[0])
	h[flagAt] = anotherTry
	args := append([]string{string(h)}, c.args[1:]...)
	return command{c.keys, args}
}

func (s *Store) appendTag(b []byte, k limiter.Key) []byte {
	b = append(append(b, s.prefix...), '{')
	b = base64.RawURLEncoding.AppendEncode(b, keyBytes(k))
	return append(b, '}')
}

func (s *Store) appendName(b []byte, c *limiter.Charge) []byte {
	r := body(c.Rule)
	return append(s.appendTag(b, c.Key), r.tag[:]...)
}

func keyBytes(k limiter.Key) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.Fingerprint)
	binary.BigEndian.PutUint64(b[8:], k.Place)
	return b[:]
}

// parseName takes apart what appendName made: the key and the rule's tag.
func (s *Store) parseName(name string) (k limiter.Key, tag [8]byte, ok bool) {
	n := len(s.prefix)
	if len(name) != n+1+22+1+8 || name[:n] != s.prefix {
		return k, tag, false
	}
	var b [18]byte
	if _, err := base64.RawURLEncoding.Decode(b[:], []byte(name[n+1:n+23])); err != nil {
		return k, tag, false
	}
	copy(tag[:], name[n+24:])
	return limiter.Key{Fingerprint: binary.BigEndian.Uint64(b[:]), Place: binary.BigEndian.Uint64(b[8:])}, tag, true
}

// keyed is a pool of HMACs under the secret.
type keyed struct{ pool sync.Pool }

func newKeyed(secret []byte) *keyed {
	secret = append([]byte(nil), secret...)
	return &keyed{sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
}

func (k *keyed) sum(b []byte) (sum [32]byte) {
	h := k.pool.Get().(hash.Hash)
	h.Reset()
	_, _ = h.Write(b)
	h.Sum(sum[:0])
	k.pool.Put(h)
	return sum
}

func (s *Store) sum(b []byte) [32]byte { return s.keyed.sum(b) }

// answer is what the script says to a take.
type answer struct {
	allowed   bool
	binding   int // from 0; -1 for none
	remaining int64
	at        int64
	wait      int64
	server    int64 // only of a Cluster, else 0
}

// answerSize is that of an answer, see the script.
const answerSize = 22

func parseAnswer(b string) (answer, error) {
	switch b[0] {
	case 0, 1:
		return answer{allowed: b[0] == 1, binding: int(b[1]) - 1, remaining: number(b[2:8]), at: number(b[8:15]), wait: number(b[15:22])}, nil
	case 4:
		return answer{}, errFull
	}
	return answer{}, &UnavailableError{errors.New("the check was given up")}
}

// reading is a time in microseconds, rounded down to judge by and up to hold from.
type reading struct {
	lo, hi int64
	own    int64 // by this machine's clock, of one that was moved to the servers' time
}

func readingOf(t time.Time) reading {
	ns := t.UnixNano()
	r := reading{lo: ns / 1000, hi: ns / 1000}
	if ns%1000 != 0 {
		r.hi++
	}
	return r
}

// frac is 1 where the reading was rounded down, for the script.
func (r reading) frac() byte {
	if r.hi > r.lo {
		return 1
	}
	return 0
}

// valid is the range that the embedded table reads: 1970 to 2111.
func (r reading) valid() bool { return r.lo > 0 && r.hi < 1<<52-1-limiter.MaxWindow.Microseconds() }
