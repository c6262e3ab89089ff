package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// ExplainSend tells what a send would meet.
func (a *admin) ExplainSend(ctx context.Context, in *sendgatev1.ExplainSendRequest) (*sendgatev1.ExplainSendResponse, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	if in.Check == nil {
		return nil, invalid("check", "required: the send to explain")
	}
	req := fromCheck(in.Check, nil)
	e, err := a.gate.Explain(ctx, &req)
	if err != nil {
		return nil, failureOf(err, a.log)
	}
	return ToExplanation(e), nil
}

// ToExplanation is an explanation as the contract tells it.
func ToExplanation(e *gate.Explanation) *sendgatev1.ExplainSendResponse {
	info := e.Send.Number.Info()
	out := &sendgatev1.ExplainSendResponse{
		Answer: toCheck(&e.Verdict), At: timestamppb.New(e.Send.At),
		Send: &sendgatev1.ExplainedSend{
			Number: e.Send.Number.String(), Country: e.Send.Country, NumberType: e.Send.NumberType.String(), Valid: info.Valid, Account: e.Send.Account,
			Subaccount: e.Send.Subaccount, Endpoint: e.Send.Endpoint, Channel: e.Send.Channel, Purpose: e.Send.Purpose, Cost: e.Cost,
			KnownGood: e.Send.KnownGood, ChallengePassed: e.Send.ChallengePassed, Price: e.Price, Currency: e.Currency,
		},
	}
	if e.Send.Client.IsValid() {
		out.Send.ClientAddress = e.Send.Client.String()
	}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, &sendgatev1.ExplainedStep{Name: s.Name, Result: s.Result, Detail: s.Detail})
	}
	for i := range e.Rules {
		out.Rules = append(out.Rules, toRuleState(&e.Rules[i]))
	}
	for _, l := range e.Listed {
		entry := &sendgatev1.ExplainedEntry{List: l.List.String(), Value: l.Target.String(), Source: "run_time", Reason: l.Reason, Author: l.Author}
		if l.Policy {
			entry.Source = "policy"
		}
		if !l.Expires.IsZero() {
			entry.ExpiresAt = timestamppb.New(l.Expires)
		}
		out.Lists = append(out.Lists, entry)
	}
	if e.Detection != nil {
		out.Detection = toDetection(e)
	}
	return out
}

func toRuleState(r *gate.RuleState) *sendgatev1.ExplainedRule {
	out := &sendgatev1.ExplainedRule{
		Rule: r.Name, Kind: r.Kind, Account: r.Account, Mode: string(r.Mode), Applies: r.Applies, Why: r.Why, Key: r.Key, Limit: r.Limit, Window: toDuration(r.Window),
		Held: r.Held, Remaining: r.Remaining, RetryAfter: toDuration(r.RetryAfter), Verdict: toVerdict(r.Verdict), Decides: r.Decides, Cost: r.Cost,
		OnLimit: string(r.OnLimit), FailMode: string(r.FailMode), CountDenied: r.CountDenied, Currency: r.Currency,
	}
	for _, part := range r.By {
		out.By = append(out.By, string(part))
	}
	return out
}

func toDetection(e *gate.Explanation) *sendgatev1.ExplainedDetection {
	d := e.Detection
	out := &sendgatev1.ExplainedDetection{Level: d.Level.String(), Looks: d.Looks, Silent: d.Silent, Advice: d.Advice.String(), Signals: toSignals(&e.Verdict)}
	for i := range d.Evidence {
		x := &d.Evidence[i]
		one := &sendgatev1.DetectionEvidence{
			Scope: x.Subject.Scope.String(), Subject: x.Subject.String(), Statistic: x.Statistic, Threshold: x.Threshold, Sessions: int64(x.Sessions),
			Verified: int64(x.Verified), Kind: x.Kind.String(), Detail: x.Detail,
		}
		if x.BlockedUntil != 0 {
			one.BlockedUntil = timestamppb.New(time.Unix(0, x.BlockedUntil))
		}
		out.Evidence = append(out.Evidence, one)
	}
	return out
}

// RecentDecisions tells what was decided lately.
func (a *admin) RecentDecisions(ctx context.Context, in *sendgatev1.RecentDecisionsRequest) (*sendgatev1.RecentDecisionsResponse, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	size := int(in.PageSize)
	switch {
	case a.recent == nil:
		return nil, noRecent
	case size == 0:
		size = defaultPage
	case size < 0 || size > maxPage:
		return nil, invalid("page_size", "write 1 to 1,000, or leave it out for 100")
	}
	w := wanted{in: in}
	if in.Number != "" {
		n, err := a.number(in.Number, in.Account)
		if err != nil {
			return nil, invalid("number", err.Error())
		}
		w.number = a.recent.hash(n.Digits())
	}
	return a.recent.newest(size, &w), nil
}

// number reads a number as a check of an account would.
func (a *admin) number(text, account string) (phone.Number, error) {
	p := a.gate.Policy()
	region := p.Numbers.DefaultRegion
	if acc := p.Accounts[account]; acc != nil && acc.DefaultRegion != "" {
		region = acc.DefaultRegion
	}
	return phone.Parse(text[:min(len(text), 65)], region)
}
