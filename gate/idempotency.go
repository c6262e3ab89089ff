package gate

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/policy"
)

// asked is what a question is, for idempotency: two questions with one key must be the same question.
type asked byte

const (
	askedSend   asked = 's'
	askedVerify asked = 'v'
)

// errKeyReused refuses a key that came with another question.
func errKeyReused() error {
	var bad violations
	bad.add("idempotency_key", "IDEMPOTENCY_KEY_REUSED", "this key was used within the last minutes for something else: make a new one for each send, and repeat it only to ask the same again")
	return bad.err()
}

// once answers a question once for its key: answer is called unless the same was asked before, and what it leaves in s is
// remembered. A twin that is still being answered is waited for, as long as ctx allows.
func (g *Gate) once(ctx context.Context, r *rules, what asked, req *Request, checkID string, s *scratch, answer func() error) error {
	if req.IdempotencyKey == "" || g.replies == nil {
		return answer()
	}
	send := &s.event.Send
	question, err := g.question(r, what, req, checkID, send, s)
	if err != nil {
		return err
	}
	s.readBy = r
	defer func() { s.readBy = nil }() // an answer that was there already is not decided: the next request of this scratch is another
	call, err := g.begin(ctx, question, s)
	if err != nil {
		return err
	}
	defer call.Abandon()
	switch call.State {
	case replies.Conflict:
		return errKeyReused()
	case replies.Done:
		if v, ok := readVerdict(call.Reply); ok {
			s.event = Event{Send: *send, Cost: req.Cost, Verdict: v}
			s.event.Verdict.Replayed = true
			return nil
		}
	}
	if err := answer(); err != nil {
		return err // nothing is remembered: whoever asks again is new
	}
	return g.finish(&call, &s.event.Verdict, s)
}

// question reads a request into send and says what must be the same when its key is used again.
func (g *Gate) question(r *rules, what asked, req *Request, checkID string, send *policy.Send, s *scratch) (replies.Question, error) {
	if err := r.canonical(req, send); err != nil {
		return replies.Question{}, err
	}
	s.body = appendQuestion(s.body[:0], what, req, checkID, send)
	return replies.Question{Account: send.Account, Key: req.IdempotencyKey, Body: g.replies.Sum(s.body)}, nil
}

func (g *Gate) begin(ctx context.Context, q replies.Question, s *scratch) (replies.Call, error) {
	call, err := g.replies.Begin(ctx, g.clock(), q, s.body[:0])
	if errors.Is(err, replies.ErrClosed) {
		err = &UnavailableError{Err: err}
	}
	return call, err
}

// finish remembers an answer. One that is too long is given and forgotten.
func (g *Gate) finish(call *replies.Call, v *Verdict, s *scratch) error {
	if s.body = appendVerdict(s.body[:0], v); len(s.body) <= replies.MaxReply {
		return call.Finish(s.body)
	}
	g.unremembered.Add(1)
	return nil
}

// appendQuestion writes all that must be the same when a key is used again, in its one spelling.
func appendQuestion(b []byte, what asked, req *Request, checkID string, send *policy.Send) []byte {
	b = append(b, byte(what))
	b = binary.BigEndian.AppendUint64(b, send.Number.Digits())
	b = binary.BigEndian.AppendUint64(b, uint64(req.Cost))
	flags := byte(0)
	if send.ChallengePassed {
		flags = 1
	}
	if send.Client.Is4() {
		flags |= 2
	}
	if send.Client.IsValid() {
		addr := send.Client.As16()
		b = append(append(b, flags|4), addr[:]...)
	} else {
		b = append(b, flags)
	}
	for _, part := range [...]string{send.Account, send.Subaccount, send.Endpoint, send.Channel, send.Purpose, req.Sender, req.Template.Name, req.Template.Language, req.Template.Business, checkID} {
		b = appendText(b, part)
	}
	if len(req.Attributes) > 0 {
		for _, k := range slices.Sorted(maps.Keys(req.Attributes)) {
			b = appendText(appendText(b, k), req.Attributes[k])
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

const (
	verdictVersion  = 1
	reasonNamesRule = 1
)

// appendVerdict writes a verdict so that readVerdict can read it. Signals are left out: they are for operators, who were told. Shadow
// results are, where there is no room for them.
func appendVerdict(b []byte, v *Verdict) []byte {
	reason, named := strings.CutSuffix(v.Reason, ":"+v.Rule) // the usual reason ends in the rule
	flags := byte(0)
	if named {
		flags = reasonNamesRule
	}
	b = append(b, verdictVersion, byte(v.Kind), flags)
	b = appendText(appendText(b, reason), v.Rule)
	for _, n := range [...]int64{int64(v.RetryAfter), v.Remaining, v.Limit, int64(v.Window), v.At.UnixNano()} {
		b = binary.AppendVarint(b, n)
	}
	b = appendText(b, v.PolicyVersion)
	b = appendText(b, v.CheckID)
	b = binary.AppendUvarint(b, uint64(len(v.Skipped)))
	for _, name := range v.Skipped {
		b = appendText(b, name)
	}
	for _, s := range v.Shadow {
		one := append([]byte(nil), byte(s.Kind))
		one = appendText(appendText(one, s.Rule), s.Reason)
		for _, n := range [...]int64{int64(s.RetryAfter), s.Remaining, s.Limit} {
			one = binary.AppendVarint(one, n)
		}
		if len(b)+len(one) > replies.MaxReply {
			break
		}
		b = append(b, one...)
	}
	return b
}

// readVerdict reads what appendVerdict wrote.
func readVerdict(b []byte) (Verdict, bool) {
	in := reader{b: b}
	if in.byte() != verdictVersion {
		return Verdict{}, false
	}
	v := Verdict{Kind: Kind(in.byte())}
	flags := in.byte()
	v.Reason, v.Rule = in.text(), in.text()
	if flags == reasonNamesRule {
		v.Reason += ":" + v.Rule
	}
	v.RetryAfter, v.Remaining, v.Limit = time.Duration(in.varint()), in.varint(), in.varint()
	v.Window, v.At = time.Duration(in.varint()), time.Unix(0, in.varint())
	v.PolicyVersion = in.text()
	v.CheckID = in.text()
	for n := in.uvarint(); n > 0 && in.err == nil; n-- {
		v.Skipped = append(v.Skipped, in.text())
	}
	for len(in.b) > 0 && in.err == nil {
		s := ShadowResult{Kind: Kind(in.byte())}
		s.Rule, s.Reason = in.text(), in.text()
		s.RetryAfter, s.Remaining, s.Limit = time.Duration(in.varint()), in.varint(), in.varint()
		v.Shadow = append(v.Shadow, s)
	}
	return v, in.err == nil && v.Kind >= Allow && v.Kind <= Challenge
}

// reader takes values off the front of b. After a failure it returns zeros.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("too short")

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = cmp.Or(r.err, errShort)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		n = -1
	}
	r.take(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		n = -1
	}
	r.take(n)
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.err = cmp.Or(r.err, errShort)
		return ""
	}
	return string(r.take(int(n)))
}
