package server

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

// admin answers operators, over gRPC and over HTTP.
type admin struct {
	sendgatev1.UnsafeAdminServiceServer
	*service
	lists   *lists.Store // nil where there are none
	store   limiter.Store
	version string
	ready   func() bool
	started time.Time
	audit   auditLog
	// forgotten makes what detection has forgotten durable; nil where nothing is.
	forgotten func() error
	recent    *Recent // nil where there are none
	reloads   *reloader

	changing sync.Mutex // one change at a time, so that what is counted and told is what was done
}

// connect is the handler of the admin calls on the HTTP port.
func (a *admin) connect() (path string, handler http.Handler) {
	return sendgatev1connect.NewAdminServiceHandler(a, connect.WithReadMaxBytes(maxMessage), connect.WithInterceptors(a.connectFailures()))
}

// operator is who calls. Only operators are let in; asking again costs nothing and keeps it so.
func operator(ctx context.Context) (identity.Owner, error) {
	s, ok := ctx.Value(sessionKey{}).(*session)
	if !ok || s.need != needAdmin {
		return identity.Owner{}, &failure{code: codes.PermissionDenied, reason: "ADMIN_ONLY", message: "this call is for operators: use an admin key"}
	}
	k, f := s.who()
	if f != nil {
		return identity.Owner{}, f
	}
	return k.owner, nil
}

const (
	maxReason = 256
	maxAuthor = 128
)

// fullNumber finds a number in free text, which would be kept in clear.
var fullNumber = regexp.MustCompile(`\+[0-9]{7}`)

// change is who changes something, and why.
func (a *admin) change(ctx context.Context, what, reason, author string) (*auditEntry, error) {
	owner, err := operator(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case owner.Name == "":
	case author != "" && author != owner.Name:
		return nil, invalid("author", fmt.Sprintf("the admin key is that of %s: leave it out", owner.Name))
	default:
		author = owner.Name
	}
	for _, text := range []struct {
		field, value string
		limit        int
	}{{"reason", reason, maxReason}, {"author", author, maxAuthor}} {
		switch {
		case text.value == "":
			return nil, invalid(text.field, "required: write who changes this, and why")
		case len(text.value) > text.limit:
			return nil, invalid(text.field, fmt.Sprintf("too long: write at most %d bytes", text.limit))
		case !utf8.ValidString(text.value):
			return nil, invalid(text.field, "not UTF-8: write text")
		case fullNumber.MatchString(text.value):
			return nil, invalid(text.field, "holds a phone number: leave it out, this text is kept in clear")
		}
	}
	// A number in a national spelling cannot be told from other digits, such as those of a ticket: they go, the text stays.
	return &auditEntry{Time: a.gate.Now(), Change: what, Author: audit.Clean(author), Reason: audit.Clean(reason)}, nil
}

// ResetKey forgets what rules hold for a key.
func (a *admin) ResetKey(ctx context.Context, in *sendgatev1.ResetKeyRequest) (*sendgatev1.ResetKeyResponse, error) {
	entry, err := a.change(ctx, "reset_key", in.Reason, in.Author)
	if err != nil {
		return nil, err
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	entry.Account, entry.Rule = in.Account, in.Rule
	entry.Values = maskedKey(in)
	var rules []string
	err = a.audit.around(entry, func() error {
		var err error
		rules, err = a.gate.Reset(ctx, &gate.ResetRequest{Rule: in.Rule, Number: in.Number, ClientAddress: in.ClientAddress,
			Account: in.Account, Subaccount: in.Subaccount, Endpoint: in.Endpoint, Channel: in.Channel, Purpose: in.Purpose})
		return err
	})
	if err != nil {
		return nil, failureOf(err, a.log)
	}
	return &sendgatev1.ResetKeyResponse{Rules: rules}, nil
}

// Status tells how the gate is.
func (a *admin) Status(context.Context, *sendgatev1.StatusRequest) (*sendgatev1.StatusResponse, error) {
	p, stats := a.gate.Policy(), a.store.Stats()
	out := &sendgatev1.StatusResponse{
		Version: a.version, Ready: a.ready(), Uptime: durationpb.New(time.Since(a.started)),
		Policy: &sendgatev1.PolicyStatus{Version: p.Version, Source: p.Name, LoadedAt: timestamppb.New(a.gate.PolicySince()),
			Rules: int32(len(p.Delays) + len(p.Limits) + len(p.Spend))},
		Store: &sendgatev1.StoreStatus{Capacity: stats.Capacity, Occupied: stats.Occupied, Recycled: stats.Recycled,
			FullOpen: stats.FullOpen, FullClosed: stats.FullClosed},
		Checks: &sendgatev1.CheckCounts{Allowed: a.metrics.count(gate.Allow), Denied: a.metrics.count(gate.Deny),
			Challenged: a.metrics.count(gate.Challenge), Failed: total(a.metrics.errors.vec), Outcomes: a.outcomes()},
	}
	reloads := a.reloads.now()
	reloads.tell(out.Policy)
	warn := func(holds bool, format string, args ...any) {
		if holds {
			out.Warnings = append(out.Warnings, fmt.Sprintf(format, args...))
		}
	}
	warn(reloads.refusal != "", "the newest policy file is refused: that of before is in force")
	warn(stats.FullOpen+stats.FullClosed > 0, "the store had no room for %d charges: make the table larger", stats.FullOpen+stats.FullClosed)
	warn(a.gate.Feedback() == gate.FeedbackSilent, "%s", silentWarning)
	warn(a.gate.Stats().Replies.Full > 0, "the memory of idempotency keys had no room for %d answers: make it larger", a.gate.Stats().Replies.Full)
	warn(a.gate.Stats().Dropped > 0, "%d answers came faster than observers took them", a.gate.Stats().Dropped)
	warn(a.doorman.openToAll && !a.doorman.book.Asked(), "callers of other machines are not asked who they are")
	if t := a.doorman.tls; t != nil {
		left := t.Expires().Sub(a.doorman.now())
		warn(left < 7*24*time.Hour, "the TLS certificate ends in %s", left.Round(time.Hour))
	}
	return out, nil
}

// outcomes is how many were counted.
func (a *admin) outcomes() (n int64) {
	for o := gate.Sent; o <= gate.VerifiedOtherWay; o++ {
		n += total(a.metrics.outcomes.with(o.String(), "counted"))
	}
	return n
}
