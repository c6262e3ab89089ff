package main

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The requests are written and the answers read by hand: what the client spends is then the same for everyone, and the contract of a
// peer need not be had as a module.

// rawCodec carries bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append((*v.(*[]byte))[:0], data...)
	return nil
}

// ask is one check: a number, and, where a probe wants a second rule, a client.
type ask struct{ number, client string }

// dialect is how a system is asked over gRPC.
type dialect struct {
	unary, batch, stream string // full method names; empty: it has none
	one                  func(b []byte, a ask) []byte
	many                 func(b []byte, as []ask) []byte // asked with batch
	streamed             func(b []byte, a ask) []byte
	admitted             func(answer []byte) (bool, error)
	items                func(answer []byte) int // how many checks of a batch were answered
	streamAdmitted       func(answer []byte) (bool, error)
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func number(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

// fields calls f with each field; bytes is set for messages and strings, n for varints.
func fields(b []byte, f func(num protowire.Number, n uint64, bytes []byte)) error {
	for len(b) > 0 {
		num, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		switch kind {
		case protowire.VarintType:
			n, size := protowire.ConsumeVarint(b)
			if size < 0 {
				return protowire.ParseError(size)
			}
			f(num, n, nil)
			b = b[size:]
		case protowire.BytesType:
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return protowire.ParseError(size)
			}
			f(num, 0, v)
			b = b[size:]
		default:
			size := protowire.ConsumeFieldValue(num, kind, b)
			if size < 0 {
				return protowire.ParseError(size)
			}
			b = b[size:]
		}
	}
	return nil
}

// enum is the value of field 1: the verdict of Sendgate and of Envoy's rate limit service, where 1 is to admit.
func enum(answer []byte) (v uint64, err error) {
	err = fields(answer, func(num protowire.Number, n uint64, _ []byte) {
		if num == 1 {
			v = n
		}
	})
	return v, err
}

func admittedIs1(answer []byte) (bool, error) {
	v, err := enum(answer)
	if err == nil && v == 0 {
		err = errors.New("an answer without a verdict")
	}
	return v == 1, err
}

// count is how often a field occurs.
func count(field protowire.Number) func([]byte) int {
	return func(answer []byte) (n int) {
		fields(answer, func(num protowire.Number, _ uint64, _ []byte) { //nolint:errcheck // what cannot be read does not count
			if num == field {
				n++
			}
		})
		return n
	}
}

const sendgateMethod = "/sendgate.v1.SendGateService/"

// sendgateDialect is for the sidecar and for the floors.
var sendgateDialect = dialect{
	unary: sendgateMethod + "CheckSend", batch: sendgateMethod + "CheckSendBatch", stream: sendgateMethod + "CheckSendStream",
	one: sendgateCheck,
	many: func(b []byte, as []ask) []byte {
		for _, a := range as {
			b = message(b, 1, sendgateCheck(nil, a))
		}
		return b
	},
	streamed: func(b []byte, a ask) []byte { return message(b, 2, sendgateCheck(nil, a)) },
	admitted: admittedIs1,
	items:    count(1),
	streamAdmitted: func(answer []byte) (ok bool, err error) {
		wrong := errors.New("an answer without a verdict")
		err = fields(answer, func(num protowire.Number, _ uint64, m []byte) {
			if num == 2 {
				ok, wrong = admittedIs1(m)
			}
		})
		return ok, errors.Join(err, wrong)
	},
}

func sendgateCheck(b []byte, a ask) []byte {
	b = text(b, 1, a.number)
	if a.client != "" {
		b = text(b, 2, a.client)
	}
	return b
}

// rlsDialect is for envoyproxy/ratelimit: a descriptor a key, and a batch is many of them.
var rlsDialect = dialect{
	unary: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
	batch: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
	one: func(b []byte, a ask) []byte {
		b = text(b, 1, "peers")
		b = message(b, 2, rlsDescriptor("number", a.number))
		if a.client != "" {
			b = message(b, 2, rlsDescriptor("client", a.client))
		}
		return b
	},
	many: func(b []byte, as []ask) []byte {
		b = text(b, 1, "peers")
		for _, a := range as {
			b = message(b, 2, rlsDescriptor("number", a.number))
		}
		return b
	},
	admitted: admittedIs1,
	items:    count(2),
}

// limitadorDialect has both keys in one descriptor, which is what its limits look at.
var limitadorDialect = dialect{
	unary: rlsDialect.unary,
	one: func(b []byte, a ask) []byte {
		d := message(nil, 1, text(text(nil, 1, "number"), 2, a.number))
		if a.client != "" {
			d = message(d, 1, text(text(nil, 1, "client"), 2, a.client))
		}
		return message(text(b, 1, "peers"), 2, d)
	},
	admitted: admittedIs1,
}

func rlsDescriptor(key, value string) []byte {
	return message(nil, 1, text(text(nil, 1, key), 2, value))
}

// gubernatorDialect carries the rule in each request.
func gubernatorDialect(r rule) dialect {
	limit := func(b []byte, name, key string, n int) []byte {
		m := text(text(nil, 1, name), 2, key)
		m = number(number(number(m, 3, 1), 4, uint64(n)), 5, uint64(r.window.Milliseconds()))
		if r.leaky {
			m = number(m, 6, 1)
		}
		return message(b, 1, m)
	}
	return dialect{
		unary: "/pb.gubernator.V1/GetRateLimits",
		batch: "/pb.gubernator.V1/GetRateLimits",
		one: func(b []byte, a ask) []byte {
			b = limit(b, "number", a.number, r.limit)
			if a.client != "" {
				b = limit(b, "client", a.client, r.clientLimit)
			}
			return b
		},
		many: func(b []byte, as []ask) []byte {
			for _, a := range as {
				b = limit(b, "number", a.number, r.limit)
			}
			return b
		},
		admitted: func(answer []byte) (bool, error) {
			ok, n := true, 0
			var wrong error
			err := fields(answer, func(num protowire.Number, _ uint64, m []byte) {
				n++
				err := fields(m, func(num protowire.Number, v uint64, s []byte) {
					if num == 1 && v == 1 { // OVER_LIMIT
						ok = false
					}
					if num == 5 && len(s) > 0 {
						wrong = fmt.Errorf("gubernator: %s", s)
					}
				})
				wrong = errors.Join(wrong, err)
			})
			if n == 0 {
				err = errors.Join(err, errors.New("an answer without a verdict"))
			}
			return ok, errors.Join(err, wrong)
		},
		items: count(1),
	}
}
