package client

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Number is a destination: E.164 ("+6581234567") is fastest, any other spelling is read with the default region of the account.
// However it is printed, logged or marshalled, it masks itself; string(n) is the clear text.
type Number string

// String returns the last two characters behind a mask: "****67".
func (n Number) String() string {
	switch {
	case n == "":
		return "none"
	case len(n) < 8:
		return "****"
	}
	return "****" + string(n[len(n)-2:])
}

// GoString masks %#v.
func (n Number) GoString() string { return n.String() }

// Format masks every verb.
func (n Number) Format(f fmt.State, verb rune) {
	if verb != 'q' {
		verb = 's'
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), n.String())
}

// LogValue masks it in structured logs.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// MarshalText masks it in JSON and the like.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// Purpose is why a message is sent.
type Purpose = sendgatev1.Purpose

// The purposes.
const (
	OTP           = sendgatev1.Purpose_PURPOSE_OTP           // a code or link that someone asked for
	Transactional = sendgatev1.Purpose_PURPOSE_TRANSACTIONAL // about something the user did
	Marketing     = sendgatev1.Purpose_PURPOSE_MARKETING     // advertising: needs consent
)

// Forwarded is what the end user's HTTP request carried about its way. See [ForwardedFrom].
type Forwarded = sendgatev1.ForwardedHeaders

// ForwardedFrom takes from a request that a server received what the gate needs to find the client address behind the proxies
// that its policy trusts. Header is the one that the policy names, where it is neither X-Forwarded-For nor Forwarded; else empty.
func ForwardedFrom(r *http.Request, header string) *Forwarded {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil { // a unix socket has no port
		peer = ""
	}
	f := &Forwarded{Peer: peer, XForwardedFor: r.Header.Values("X-Forwarded-For"), Forwarded: r.Header.Values("Forwarded")}
	if header != "" {
		f.Custom = r.Header.Values(header)
	}
	return f
}

// Send is one message about to be sent. Only Number is required; for the longest texts see the contract, sendgate.v1.
type Send struct {
	Number Number
	// ClientAddress is the end user's IP address, where it is known. It wins over Forwarded.
	ClientAddress string
	// Forwarded is what it is found from otherwise. Neither given: the policy decides.
	Forwarded *Forwarded
	// Account is who pays. Empty: the account of the API key or certificate.
	Account string
	// Subaccount is a part of it: a customer, a brand, a campaign.
	Subaccount string
	// Endpoint is the entry point that asks: "signup", "login". Few values.
	Endpoint string
	// Channel is "sms", "voice", "whatsapp" or another lower-case word. Empty: "sms".
	Channel string
	// Purpose defaults to OTP.
	Purpose Purpose
	// Cost is how many segments the message has. 0: 1.
	Cost int64
	// IdempotencyKey makes it safe to call Check again: the same key within 10 minutes gets the same answer. Empty: one is drawn
	// for each Check, so that its own tries are safe.
	IdempotencyKey string
	// ChallengePassed says that the user did what an earlier CHALLENGE asked for.
	ChallengePassed bool
	// Attributes are facts for the policy. Never put a number here.
	Attributes map[string]string
}

func (s *Send) message() *sendgatev1.CheckSendRequest {
	m := &sendgatev1.CheckSendRequest{
		Number: string(s.Number), ClientAddress: s.ClientAddress, Forwarded: s.Forwarded,
		Account: s.Account, Subaccount: s.Subaccount, Endpoint: s.Endpoint, Channel: s.Channel, Purpose: s.Purpose,
		IdempotencyKey: keyOr(s.IdempotencyKey), ChallengePassed: s.ChallengePassed, Attributes: s.Attributes,
	}
	if s.Cost != 0 {
		m.Cost = &s.Cost
	}
	return m
}

// keyOr draws an idempotency key of 128 bits where there is none.
func keyOr(key string) string {
	if key == "" {
		return rand.Text()
	}
	return key
}

// Verify is a code that someone entered and that is about to be compared. The code itself is not given.
type Verify struct {
	// CheckID of the send that carried the code. Give it where it is known: it bounds the wrong codes per OTP.
	CheckID string
	// Number the code was sent to. Required without CheckID.
	Number Number
	// The rest is as in Send.
	ClientAddress                 string
	Forwarded                     *Forwarded
	Account, Subaccount, Endpoint string
	IdempotencyKey                string
	ChallengePassed               bool
	Attributes                    map[string]string
}

func (v *Verify) message() *sendgatev1.CheckVerifyRequest {
	return &sendgatev1.CheckVerifyRequest{
		CheckId: v.CheckID, Number: string(v.Number), ClientAddress: v.ClientAddress, Forwarded: v.Forwarded,
		Account: v.Account, Subaccount: v.Subaccount, Endpoint: v.Endpoint,
		IdempotencyKey: keyOr(v.IdempotencyKey), ChallengePassed: v.ChallengePassed, Attributes: v.Attributes,
	}
}

// Outcome is what became of a send.
type Outcome = sendgatev1.Outcome

// The outcomes.
const (
	Sent             = sendgatev1.Outcome_OUTCOME_SENT               // handed to the provider
	NotSent          = sendgatev1.Outcome_OUTCOME_NOT_SENT           // not sent after all: its charge is given back
	Delivered        = sendgatev1.Outcome_OUTCOME_DELIVERED          // the provider says that it arrived
	Undelivered      = sendgatev1.Outcome_OUTCOME_UNDELIVERED        // the provider says that it did not
	Verified         = sendgatev1.Outcome_OUTCOME_VERIFIED           // the user entered the right code
	Failed           = sendgatev1.Outcome_OUTCOME_FAILED             // the user gave up on it or used up the tries
	Expired          = sendgatev1.Outcome_OUTCOME_EXPIRED            // nobody entered the code in time
	VerifiedOtherWay = sendgatev1.Outcome_OUTCOME_VERIFIED_OTHER_WAY // the user got in by something else
)

// Report says what became of a send that was allowed.
type Report struct {
	// CheckID of its verdict. Empty, as of a verdict that the gate did not give: there is nothing to report, which is no error.
	CheckID string
	Outcome Outcome
	// Account is who the check was for, as in Send.
	Account string
	// At is when it happened. Zero: now.
	At time.Time
	// Detail is the provider's status or error code, for the audit log. At most 64 bytes.
	Detail string
}

func (r *Report) message() *sendgatev1.ReportOutcomeRequest {
	m := &sendgatev1.ReportOutcomeRequest{CheckId: r.CheckID, Outcome: r.Outcome, Account: r.Account, Detail: r.Detail}
	if !r.At.IsZero() {
		m.OccurredAt = timestamppb.New(r.At)
	}
	return m
}
