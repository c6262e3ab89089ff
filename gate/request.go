package gate

import (
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"github.com/sendgate/sendgate/internal/clientip"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/policy"
)

// Request describes one message about to be sent, as the caller spells it.
type Request struct {
	// Number is the destination in any spelling. E.164 ("+6581234567") is fastest. Required; at most 64 bytes.
	Number string
	// ClientAddress is the end user's IP address, where the caller knows it. It wins over Forwarded. At most 128 bytes.
	ClientAddress string
	// Forwarded is where the end user's address can be found otherwise. Nil if nowhere.
	Forwarded *Forwarded
	// Caller is who asks. It decides for which accounts.
	Caller Caller
	// Account, Subaccount and Endpoint are names of at most 128 bytes; empty means none.
	Account, Subaccount, Endpoint string
	// Sender is what the person will see as the writer, and whom STOP is answered to: a number of the account's own, a short code or a
	// name, of at most 128 bytes. Empty means that opt-outs of every sender of the account count.
	Sender string
	// Template is the message template that it is sent with. The zero value is none.
	Template Template
	// Channel is a lower-case word of at most 32 bytes. Empty means "sms".
	Channel string
	// Purpose is "otp", "transactional" or "marketing". Empty means "otp".
	Purpose string
	// Cost is how many units to charge: at least 1, at most the smallest limit that applies. There is no default: who asks
	// for nothing must not get 1.
	Cost int64
	// IdempotencyKey makes asking again safe: for 10 minutes the same key of the same account gets the same answer and charges
	// nothing more. At most 128 bytes; empty for none.
	IdempotencyKey string
	// ChallengePassed says that the user stepped up. It is believed of a trusted Caller.
	ChallengePassed bool
	// By judges the request: a policy that the caller has looked at already, such as for how to read the request. The zero value is
	// the policy in force when the check begins.
	By Snapshot
	// Attributes are at most 16 facts, keys to 64 bytes, values to 256.
	Attributes map[string]string
}

// Forwarded is what the end user's request carried about its way here.
type Forwarded struct {
	// Peer is the address of the connection that carried the headers. A header is believed only when a trusted proxy sent
	// it. Empty means that the last hop is trusted. At most 128 bytes.
	Peer string
	// The lines of the headers, in order. Of the three the one counts that the policy's client_address.header names.
	XForwardedFor, Forwarded, Custom []string
	// OwnCall says that these are the headers of the check's own connection. Its peer is then the service that asks, and
	// not a client, unless it is a trusted proxy that names somebody else.
	OwnCall bool
}

const (
	maxNumber     = 64
	maxAddress    = 128
	maxName       = 128
	maxChannel    = 32
	maxAttributes = 16
	maxAttrKey    = 64
	maxAttrValue  = 256
)

// canonical brings a request to its one spelling. Everything that is wrong is told at once.
func (r *rules) canonical(req *Request, send *policy.Send) error {
	var bad violations
	name, err := r.actFor(&req.Caller, req.Account)
	if err != nil {
		return err
	}
	*send = policy.Send{
		Account: name, Subaccount: req.Subaccount, Endpoint: req.Endpoint, Channel: req.Channel, Purpose: req.Purpose,
		Cost: req.Cost, Attributes: req.Attributes,
		ChallengePassed: req.ChallengePassed && req.Caller.Trusted,
	}
	region := r.policy.Numbers.DefaultRegion
	if account, known := r.policy.Accounts[name]; known && account.DefaultRegion != "" {
		region = account.DefaultRegion
	} else if !known && name != "" && len(r.policy.Accounts) > 0 {
		bad.add("account", "ACCOUNT_UNKNOWN", "the policy names accounts and this is none of them: write one that it names")
	}
	if len(req.Number) > maxNumber {
		bad.add("number", "NUMBER_INVALID", tooLong(maxNumber))
	} else if number, err := phone.Parse(req.Number, region); err != nil {
		bad.add("number", "NUMBER_INVALID", err.Error())
	} else {
		send.Number = number
		if r.asksPlan { // metadata of a number seen for the first time costs more than the rest of the check
			info := number.Info()
			send.Country, send.NumberType = info.Country, info.Type
		}
	}
	send.Client = r.client(req, &bad)

	bad.name("account", req.Account)
	bad.name("subaccount", req.Subaccount)
	bad.name("endpoint", req.Endpoint)
	bad.name("sender", req.Sender)
	bad.name("template.name", req.Template.Name)
	bad.name("template.language", req.Template.Language)
	bad.name("template.business_account", req.Template.Business)
	bad.name("idempotency_key", req.IdempotencyKey)
	if send.Channel == "" {
		send.Channel = "sms"
	} else if !isWord(send.Channel) {
		bad.add("channel", "CHANNEL_INVALID", fmt.Sprintf("write a lower-case word of at most %d letters, digits, _ and -, such as sms", maxChannel))
	}
	switch send.Purpose {
	case "":
		send.Purpose = "otp"
	case "otp", "transactional", "marketing":
	default:
		bad.add("purpose", "PURPOSE_INVALID", "write otp, transactional or marketing")
	}
	if req.Cost < 1 {
		bad.add("cost", "COST_INVALID", fmt.Sprintf("%d: must be at least 1; leave it out to charge 1", req.Cost))
	}
	bad.attributes(req.Attributes)
	return bad.err()
}

// client finds the client address. The zero Addr means that there is none.
func (r *rules) client(req *Request, bad *violations) netip.Addr {
	if len(req.ClientAddress) > maxAddress {
		bad.add("client_address", "CLIENT_ADDRESS_INVALID", tooLong(maxAddress))
		return netip.Addr{}
	}
	if req.ClientAddress != "" {
		addr, err := r.resolver.Resolve(netip.Addr{}, req.ClientAddress, nil)
		return bad.address("client_address", addr, err)
	}
	f := req.Forwarded
	if f == nil {
		return netip.Addr{}
	}
	lines := f.Custom
	switch r.resolver.Header() {
	case "x-forwarded-for":
		lines = f.XForwardedFor
	case "forwarded":
		lines = f.Forwarded
	}
	if f.Peer == "" && !f.OwnCall {
		addr, err := r.lastHopTrusted.Resolve(netip.Addr{}, "", lines)
		return bad.address("forwarded", addr, err)
	}
	var peer netip.Addr
	if f.Peer != "" {
		if len(f.Peer) > maxAddress {
			bad.add("forwarded.peer", "CLIENT_ADDRESS_INVALID", tooLong(maxAddress))
			return netip.Addr{}
		}
		addr, err := r.resolver.Resolve(netip.Addr{}, f.Peer, nil)
		peer = bad.address("forwarded.peer", addr, err)
	}
	addr, err := r.resolver.Resolve(peer, "", lines)
	addr = bad.address("forwarded", addr, err)
	if f.OwnCall && (addr == peer || r.resolver.Trusted(addr)) {
		return netip.Addr{} // the service that asks, or one of our own machines: nobody's client
	}
	return addr
}

func tooLong(limit int) string { return fmt.Sprintf("too long: write at most %d bytes", limit) }

func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) <= maxChannel
}

// Violation is one field of a request that is wrong.
type Violation struct {
	Field       string // its path in the contract, such as "forwarded.peer"
	Reason      string // a stable word for programs, such as NUMBER_INVALID
	Description string // what is wrong and what to write instead; never holds a number
}

// InvalidError is returned for a request that makes no sense. Nothing was charged.
type InvalidError struct {
	Violations []Violation // never empty
}

// Error tells every violation.
func (e *InvalidError) Error() string {
	text := ""
	for i, v := range e.Violations {
		if i > 0 {
			text += "; "
		}
		text += v.Field + ": " + v.Description
	}
	return text
}

// violations collects what is wrong with a request.
type violations []Violation

func (b *violations) add(field, reason, description string) {
	*b = append(*b, Violation{Field: field, Reason: reason, Description: description})
}

// err is nil if nothing is wrong.
func (b *violations) err() error {
	if len(*b) == 0 {
		return nil
	}
	return &InvalidError{Violations: *b}
}

// name checks a free text that becomes part of a key or a log line.
func (b *violations) name(field, value string) {
	switch {
	case len(value) > maxName:
		b.add(field, "NAME_INVALID", tooLong(maxName))
	case !utf8.ValidString(value):
		b.add(field, "NAME_INVALID", "not UTF-8: write text")
	}
}

func (b *violations) attributes(attributes map[string]string) {
	if len(attributes) > maxAttributes {
		b.add("attributes", "ATTRIBUTES_INVALID", fmt.Sprintf("%d of them: write at most %d", len(attributes), maxAttributes))
		return
	}
	for k, v := range attributes {
		if k == "" || len(k) > maxAttrKey || len(v) > maxAttrValue {
			b.add("attributes", "ATTRIBUTES_INVALID", fmt.Sprintf("write keys of 1 to %d bytes and values of at most %d", maxAttrKey, maxAttrValue))
			return
		}
	}
}

// address takes the answer of a resolver: no address is no error, the policy decides about it.
func (b *violations) address(field string, addr netip.Addr, err error) netip.Addr {
	if err != nil && !errors.Is(err, clientip.ErrNone) {
		b.add(field, "CLIENT_ADDRESS_INVALID", addressError(err))
	}
	return addr
}

func addressError(err error) string {
	var wrong *clientip.AddrError
	if errors.As(err, &wrong) {
		return wrong.Reason
	}
	return "not an IP address: write an address like 203.0.113.7 or 2001:db8::7"
}
