package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/extract"
	"github.com/sendgate/sendgate/policy"
)

// What the application behind a proxy is told of a request that passes. What a client wrote there is taken off.
const (
	verdictHeader = "X-Sendgate-Verdict"  // allow, or unchecked
	checkIDHeader = "X-Sendgate-Check-Id" // one or, of a batch, several in order, with commas; for ReportOutcome
)

// proxied is a request that a proxy asks about, whatever the proxy's protocol.
type proxied struct {
	by      gate.Snapshot // what the request is read by also judges it
	policy  *policy.Proxies
	profile string // as the proxy's configuration names it; "" for that of the path
	reading *extract.Reading
	client  []extract.Selector // where the end user's address may be
	own     ownCall            // where it may be otherwise; nil for nowhere
}

// ruling is what becomes of a request.
type ruling struct {
	failure *failure // no answer: the proxy's own fail mode decides
	pass    bool
	// Of a refusal: what the end user is told. Only words of ours, never of the request.
	status     int
	detail     string
	grpc       codes.Code
	header     http.Header
	violations []violation
	// Of a request that passes: what the application is told.
	upstream http.Header
	// facts are for the proxy's log: names and words, never a number.
	facts map[string]any
}

// rule judges a request that a proxy asks about.
func (s *service) rule(ctx context.Context, p *proxied, surface *surface) *ruling {
	if !s.inFlight.enter() {
		s.metrics.shed.Inc()
		return failed(errBusy)
	}
	defer s.inFlight.leave()
	caller, f := callerOf(ctx)
	if f != nil {
		s.metrics.failed(f)
		return failed(f)
	}
	profile, r := s.profileOf(p)
	if r != nil {
		return r
	}
	reqs, r := s.sends(ctx, p, profile)
	if r != nil {
		return r
	}
	start := time.Now()
	answers := make([]gate.Answer, 1)
	for _, req := range reqs {
		req.Caller, req.By = caller, p.by
	}
	if len(reqs) == 1 {
		answers[0].Verdict, answers[0].Err = s.gate.Check(ctx, reqs[0])
	} else {
		answers = s.gate.CheckAll(ctx, reqs)
	}
	surface.seconds.Observe(time.Since(start).Seconds() / float64(len(reqs)))
	if len(reqs) == 1 && answers[0].Err == nil {
		s.tracing.verdict(ctx, &answers[0].Verdict)
	}
	return s.conclude(p, answers)
}

func failed(f *failure) *ruling {
	return &ruling{failure: f, facts: map[string]any{"verdict": "error", "reason": f.reason}}
}

// profileOf finds the profile of a request, or says what becomes of one that has none.
func (s *service) profileOf(p *proxied) (*policy.Profile, *ruling) {
	if p.policy == nil {
		f := &failure{code: codes.FailedPrecondition, reason: "NO_PROXIES", message: "the policy has no proxies section: write how sends are found in requests"}
		s.metrics.failed(f)
		return nil, failed(f)
	}
	if p.profile == "" {
		name, profile := p.policy.ProfileFor(p.reading)
		if p.profile = name; profile == nil {
			return nil, s.unchecked(p, p.policy.Unmatched, "unmatched", http.StatusForbidden, "this path is not open")
		}
		return profile, nil
	}
	profile, known := p.policy.Profiles[p.profile]
	if !known { // no request can be judged: loud, and never open
		s.log.Error("a proxy names a profile that the policy does not have", "profile", p.profile)
		return nil, s.unchecked(p, policy.Refuse, "profile", http.StatusInternalServerError, "misconfigured")
	}
	for _, t := range profile.Match { // for the variables of its path
		if p.reading.MatchPath(t) {
			break
		}
	}
	return profile, nil
}

var faultStatus = map[extract.Fault]int{extract.Missing: http.StatusBadRequest, extract.Unreadable: http.StatusBadRequest,
	extract.Compressed: http.StatusUnsupportedMediaType, extract.Partial: http.StatusRequestEntityTooLarge, extract.Oversized: http.StatusRequestEntityTooLarge}

var faultDetail = map[extract.Fault]string{extract.Missing: "a value is missing that says where the message goes",
	extract.Unreadable: "the request cannot be read, or in more than one way", extract.Compressed: "the body must not be compressed",
	extract.Partial: "the body is too large", extract.Oversized: "the body is too large"}

// sends are the sends that a request asks for, or what becomes of a request in which they cannot be found.
func (s *service) sends(ctx context.Context, p *proxied, profile *policy.Profile) ([]*gate.Request, *ruling) {
	fault := func(f extract.Fault) *ruling {
		return s.unchecked(p, profile.On[f], string(f), faultStatus[f], faultDetail[f])
	}
	items, f := p.reading.All(profile.Number)
	if f != "" {
		return nil, fault(f)
	}
	if len(items) > profile.MaxSends {
		return nil, s.unchecked(p, policy.Refuse, "max_sends", http.StatusRequestEntityTooLarge, fmt.Sprintf("write at most %d numbers", profile.MaxSends))
	}
	reqs := make([]*gate.Request, len(items))
	for i, item := range items {
		req := &gate.Request{Number: item.Text, Endpoint: p.profile, Cost: 1}
		for _, field := range []struct {
			from     extract.Selector
			to       *string
			optional bool
		}{
			{profile.Account, &req.Account, false}, {profile.Subaccount, &req.Subaccount, false}, {profile.Endpoint, &req.Endpoint, false},
			{profile.Channel, &req.Channel, false}, {profile.Purpose, &req.Purpose, false},
			{profile.ClientAddress, &req.ClientAddress, true}, {profile.IdempotencyKey, &req.IdempotencyKey, true},
		} {
			if field.from.IsZero() {
				continue
			}
			text, f := p.reading.One(field.from, item.At)
			if f != "" && (f != extract.Missing || !field.optional) {
				return nil, fault(f)
			}
			*field.to = text
		}
		if !profile.ChallengePassed.IsZero() {
			text, _ := p.reading.One(profile.ChallengePassed, item.At)
			req.ChallengePassed = text == "true" || text == "1"
		}
		if req.IdempotencyKey != "" && len(items) > 1 {
			req.IdempotencyKey += "/" + strconv.Itoa(i)
		}
		if profile.ClientAddress.IsZero() {
			if f := s.clientOf(ctx, p, req); f != "" {
				return nil, fault(f)
			}
		}
		reqs[i] = req
	}
	return reqs, nil
}

// clientOf finds the end user's address around the request.
func (s *service) clientOf(ctx context.Context, p *proxied, req *gate.Request) extract.Fault {
	for _, from := range p.client {
		text, f := p.reading.One(from, nil)
		switch f {
		case "":
			req.ClientAddress = text
			return ""
		case extract.Missing:
		default:
			return f
		}
	}
	if p.own != nil {
		req.Forwarded = p.own(ctx, p.by.ClientHeader())
	}
	return ""
}

// unchecked is what becomes of a request that cannot be checked.
func (s *service) unchecked(p *proxied, action policy.Uncheckable, cause string, status int, detail string) *ruling {
	s.metrics.unchecked.with(cause, string(action)).Inc()
	r := &ruling{pass: action != policy.Refuse, facts: map[string]any{"verdict": "unchecked", "reason": "proxy:" + cause}}
	if p.profile != "" {
		r.facts["profile"] = p.profile
	}
	if r.pass {
		r.upstream = http.Header{verdictHeader: {"unchecked"}}
		return r
	}
	r.facts["verdict"] = "deny"
	r.status, r.detail, r.grpc = status, detail, codes.InvalidArgument
	switch status {
	case http.StatusForbidden:
		r.grpc = codes.PermissionDenied
	case http.StatusInternalServerError:
		r.grpc = codes.Internal
	}
	return r
}

// conclude makes one ruling of the answers for all sends of a request.
func (s *service) conclude(p *proxied, answers []gate.Answer) *ruling {
	r := &ruling{pass: true, facts: map[string]any{"verdict": "allow", "profile": p.profile}}
	var worst *gate.Verdict
	var ids []string
	for i := range answers {
		v, err := &answers[i].Verdict, answers[i].Err
		if err != nil {
			f := failureOf(err, s.log)
			s.metrics.failed(f)
			switch f.code {
			case codes.InvalidArgument, codes.PermissionDenied:
				r.refuse(f, i, len(answers))
				continue
			}
			return failed(f)
		}
		s.metrics.answered(v)
		ids = append(ids, v.CheckID)
		if v.Kind != gate.Allow && (worst == nil || worse(v, worst)) {
			worst = v
		}
	}
	if len(answers) > 1 {
		r.facts["sends"] = len(answers)
	}
	switch {
	case !r.pass:
	case worst != nil:
		r.deny(p.policy, worst)
	default:
		r.upstream = http.Header{verdictHeader: {"allow"}, checkIDHeader: {strings.Join(ids, ",")}}
		r.tell(&answers[0].Verdict)
	}
	return r
}

// worse says which of two refusals the end user is told: a denial before a challenge, then the longer wait. What is only denied
// because of others says nothing.
func worse(a, b *gate.Verdict) bool {
	if aside := b.Reason == "batch:all_or_nothing"; aside != (a.Reason == "batch:all_or_nothing") {
		return aside
	}
	if a.Kind != b.Kind {
		return a.Kind == gate.Deny
	}
	return a.RetryAfter > b.RetryAfter
}

// refuse is the ruling for a send that makes no sense.
func (r *ruling) refuse(f *failure, i, of int) {
	if r.pass {
		r.pass, r.status, r.grpc, r.detail = false, httpStatus(f), f.code, "the request describes no message that can be sent"
		if f.code == codes.PermissionDenied {
			r.detail = "this caller may not send for this account"
		}
		r.facts["verdict"], r.facts["reason"] = "deny", "invalid:"+strings.ToLower(f.reason)
	}
	for _, v := range f.violations {
		field := v.Field
		if of > 1 {
			field = fmt.Sprintf("[%d].%s", i, field)
		}
		r.violations = append(r.violations, violation{field, v.Description})
	}
}

// deny is the ruling for a DENY or CHALLENGE.
func (r *ruling) deny(x *policy.Proxies, v *gate.Verdict) {
	r.pass, r.header = false, http.Header{"Cache-Control": {"no-store"}}
	switch {
	case v.Kind == gate.Challenge:
		r.status, r.grpc, r.detail = x.Challenge.Status, codes.PermissionDenied, "prove that you are a person, then try again"
		r.header.Set(x.Challenge.Header, x.Challenge.Value)
	case v.RetryAfter > 0:
		r.status, r.grpc, r.detail = http.StatusTooManyRequests, codes.ResourceExhausted, fmt.Sprintf("too many requests: try again in %d s", wholeSeconds(v.RetryAfter))
	default:
		r.status, r.grpc, r.detail = http.StatusForbidden, codes.PermissionDenied, "this message is not sent"
	}
	if v.RetryAfter > 0 {
		r.header.Set("Retry-After", strconv.FormatInt(wholeSeconds(v.RetryAfter), 10))
		r.facts["retry_after_s"] = wholeSeconds(v.RetryAfter)
	}
	if v.Rule != "" {
		setRateLimit(r.header, v)
	}
	r.tell(v)
}

func (r *ruling) tell(v *gate.Verdict) {
	r.facts["verdict"], r.facts["check_id"], r.facts["policy_version"] = v.Kind.String(), v.CheckID, v.PolicyVersion
	if v.Reason != "" {
		r.facts["reason"] = v.Reason
	}
	if v.Rule != "" {
		r.facts["rule"] = v.Rule
	}
}

// body is the refusal as problem details. Why in particular is for the operator: it would teach an attacker.
func (r *ruling) body() []byte {
	p := struct {
		Title      string      `json:"title"`
		Status     int         `json:"status"`
		Detail     string      `json:"detail"`
		Violations []violation `json:"violations,omitempty"`
	}{http.StatusText(r.status), r.status, r.detail, r.violations}
	b, err := json.Marshal(p)
	if err != nil { // text and numbers always can
		return []byte("{}")
	}
	return append(b, '\n')
}
