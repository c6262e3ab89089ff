package server

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/report"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

// reports tells operators what shadow would have done, over gRPC and over HTTP.
type reports struct {
	sendgatev1.UnsafeReportServiceServer
	*admin
}

// connect is the handler on the HTTP port.
func (s *reports) connect() (path string, handler http.Handler) {
	return sendgatev1connect.NewReportServiceHandler(s, connect.WithReadMaxBytes(maxMessage), connect.WithInterceptors(s.connectFailures()))
}

// connectFailures puts errors into the words of connect.
func (s *service) connectFailures() connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			out, err := next(ctx, req)
			if err != nil {
				return nil, failureOf(err, s.log).connect()
			}
			return out, nil
		}
	})
}

// maxGroups is how many countries and accounts are told of a rule.
const maxGroups = 16

// ShadowReport tells what would have been stopped, and how much of that was good.
func (s *reports) ShadowReport(ctx context.Context, in *sendgatev1.ShadowReportRequest) (*sendgatev1.ShadowReportResponse, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	book := s.gate.Book()
	if book == nil {
		return nil, &failure{code: codes.FailedPrecondition, reason: "NO_REPORT", message: "this sidecar does not count what shadow would do"}
	}
	now := s.gate.Now()
	var since time.Time
	if d := in.Since.AsDuration(); in.Since != nil {
		if d <= 0 {
			return nil, invalid("since", "write a duration above 0, such as 24h")
		}
		if d < report.KeptHours*time.Hour {
			since = now.Add(-d).Truncate(time.Hour)
		}
	}
	out := &sendgatev1.ShadowReportResponse{Currency: s.gate.Currency(), At: timestamppb.New(now), Forgotten: book.Forgotten(), Feedback: s.gate.Feedback().String()}
	for _, r := range shadowRules(s.gate, since) {
		if in.Rule != "" && r.Rule != in.Rule && r.CandidateOf != in.Rule {
			continue
		}
		out.Rules = append(out.Rules, r)
		if at := r.Since; since.IsZero() && at != nil && (out.Since == nil || at.AsTime().Before(out.Since.AsTime())) {
			out.Since = at
		}
	}
	if in.Rule != "" && len(out.Rules) == 0 {
		return nil, &failure{code: codes.NotFound, reason: "RULE_UNKNOWN", message: "no rule of this name is in shadow, has a candidate, or was counted before: leave the name out to see all"}
	}
	if !since.IsZero() {
		out.Since = timestamppb.New(since)
	}
	return out, nil
}

// shadowRules is the book in the order of the policy; what the policy has no more comes last.
func shadowRules(g *gate.Gate, since time.Time) (out []*sendgatev1.ShadowRule) {
	place := make(map[string]int)
	known := g.ShadowRules()
	for i, r := range known {
		place[r.Row] = i
	}
	for _, e := range g.Book().Entries(since) {
		r := &sendgatev1.ShadowRule{Rule: e.Name, Mode: "gone", Total: toTally(&e.Total)}
		if !e.Since.IsZero() {
			r.Since = timestamppb.New(e.Since)
		}
		if i, ok := place[e.Name]; ok {
			k := &known[i]
			r.Kind, r.Mode, r.CandidateOf, r.Limit = k.Kind, k.Mode, k.Live, k.Limit
			if k.Window > 0 {
				r.Window = durationpb.New(k.Window)
			}
		} else if e.Since.IsZero() {
			continue
		}
		for i := range e.Hours {
			r.Hours = append(r.Hours, &sendgatev1.ShadowHour{Start: timestamppb.New(e.Hours[i].Start), Tally: toTally(&e.Hours[i].Tally)})
		}
		r.Countries, r.Accounts = toGroups(e.Countries), toGroups(e.Accounts)
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b *sendgatev1.ShadowRule) int { return cmp.Compare(order(place, a.Rule), order(place, b.Rule)) })
	return out
}

func order(place map[string]int, rule string) int {
	if i, ok := place[rule]; ok {
		return i
	}
	return len(place)
}

func toTally(t *report.Tally) *sendgatev1.ShadowTally {
	return &sendgatev1.ShadowTally{Judged: t.Judged, Denied: t.Denied, Challenged: t.Challenged, Money: t.Money, Verified: t.Verified,
		VerifiedMoney: t.VerifiedMoney, Failed: t.Failed, Freed: t.Freed, FreedMoney: t.FreedMoney}
}

func toGroups(all []report.Group) (out []*sendgatev1.ShadowGroup) {
	for i := range all[:min(len(all), maxGroups)] {
		out = append(out, &sendgatev1.ShadowGroup{Name: all[i].Name, Tally: toTally(&all[i].Tally)})
	}
	return out
}

// shadowState is what is read of the book when somebody scrapes. Its rows are bounded, and names of the policy.
type shadowState struct{ gate *gate.Gate }

// Describe sends nothing, as that of state.
func (s *shadowState) Describe(chan<- *prometheus.Desc) {}

func (s *shadowState) Collect(ch chan<- prometheus.Metric) {
	currency := s.gate.Currency()
	for _, e := range s.gate.Book().Entries(time.Time{}) {
		tell := func(name, help string, value float64, labels ...string) {
			keys, values := []string{"rule"}, []string{e.Name}
			for i := 0; i < len(labels); i += 2 {
				keys, values = append(keys, labels[i]), append(values, labels[i+1])
			}
			ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("sendgate_shadow_"+name, help, keys, nil), prometheus.CounterValue, value, values...)
		}
		t := &e.Total
		tell("judged_total", "Sends that a rule in shadow, a candidate, or a limit with candidates judged. Kept over restarts, as all of these are.", float64(t.Judged))
		const stops = "Sends that it would have stopped, by its verdict. Of a limit with candidates: that it did stop."
		tell("stops_total", stops, float64(t.Denied), "verdict", "deny")
		tell("stops_total", stops, float64(t.Challenged), "verdict", "challenge")
		const ends = "What became of the sends that it would have stopped. Verified ones are people who would have been hurt."
		tell("outcomes_total", ends, float64(t.Verified), "outcome", "verified")
		tell("outcomes_total", ends, float64(t.Failed), "outcome", "failed")
		tell("freed_total", "Sends that a limit alone stopped and that its candidate would have let pass.", float64(t.Freed))
		if currency != "" {
			tell("stops_money_total", "What the sends cost that it would have stopped.", float64(t.Money)/1e6, "currency", currency)
			tell("verified_money_total", "What those of them cost that were verified later.", float64(t.VerifiedMoney)/1e6, "currency", currency)
		}
	}
}
