package server

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// fromCheck reads a CheckSendRequest. own is where else the client address may come from, nil for nowhere.
func fromCheck(in *sendgatev1.CheckSendRequest, own *gate.Forwarded) gate.Request {
	req := gate.Request{
		Number:          in.GetNumber(),
		ClientAddress:   in.GetClientAddress(),
		Forwarded:       own,
		Account:         in.GetAccount(),
		Subaccount:      in.GetSubaccount(),
		Endpoint:        in.GetEndpoint(),
		Sender:          in.GetSender(),
		Template:        templateOf(in.GetTemplate()),
		Channel:         in.GetChannel(),
		Purpose:         purposeOf(in.GetPurpose()),
		Cost:            1,
		IdempotencyKey:  in.GetIdempotencyKey(),
		ChallengePassed: in.GetChallengePassed(),
		Attributes:      in.GetAttributes(),
	}
	if in != nil && in.Cost != nil {
		req.Cost = *in.Cost
	}
	if f := in.GetForwarded(); f != nil {
		req.Forwarded = &gate.Forwarded{Peer: f.Peer, XForwardedFor: f.XForwardedFor, Forwarded: f.Forwarded, Custom: f.Custom}
	}
	return req
}

func templateOf(t *sendgatev1.MessageTemplate) gate.Template {
	return gate.Template{Name: t.GetName(), Language: t.GetLanguage(), Business: t.GetBusinessAccount()}
}

// namesClient tells whether the request itself says whose it is, so that nobody has to look at its connection.
func namesClient(in *sendgatev1.CheckSendRequest) bool {
	return in.GetClientAddress() != "" || in.GetForwarded() != nil
}

// purposeOf is the gate's word for a purpose. One that this version does not know keeps its number and is refused there.
func purposeOf(p sendgatev1.Purpose) string {
	switch p {
	case sendgatev1.Purpose_PURPOSE_UNSPECIFIED:
		return ""
	case sendgatev1.Purpose_PURPOSE_OTP:
		return "otp"
	case sendgatev1.Purpose_PURPOSE_TRANSACTIONAL:
		return "transactional"
	case sendgatev1.Purpose_PURPOSE_MARKETING:
		return "marketing"
	}
	return p.String()
}

func toVerdict(k gate.Kind) sendgatev1.Verdict {
	switch k {
	case gate.Allow:
		return sendgatev1.Verdict_VERDICT_ALLOW
	case gate.Deny:
		return sendgatev1.Verdict_VERDICT_DENY
	case gate.Challenge:
		return sendgatev1.Verdict_VERDICT_CHALLENGE
	}
	return sendgatev1.Verdict_VERDICT_UNSPECIFIED
}

func toCheck(v *gate.Verdict) *sendgatev1.CheckSendResponse {
	out := &sendgatev1.CheckSendResponse{
		Verdict:       toVerdict(v.Kind),
		Reason:        v.Reason,
		Rule:          v.Rule,
		RetryAfter:    toDuration(v.RetryAfter),
		Remaining:     v.Remaining,
		Limit:         v.Limit,
		Window:        toDuration(v.Window),
		CheckId:       v.CheckID,
		PolicyVersion: v.PolicyVersion,
		SkippedRules:  v.Skipped,
		Replayed:      v.Replayed,
		Signals:       toSignals(v),
	}
	for i := range v.Shadow {
		out.Shadow = append(out.Shadow, toShadow(&v.Shadow[i]))
	}
	return out
}

func toShadow(s *gate.ShadowResult) *sendgatev1.ShadowResult {
	return &sendgatev1.ShadowResult{
		Rule: s.Rule, Verdict: toVerdict(s.Kind), Reason: s.Reason, RetryAfter: toDuration(s.RetryAfter), Remaining: s.Remaining, Limit: s.Limit,
	}
}

// toDuration leaves what is 0 unset.
func toDuration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
