package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rlv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy/envoyconfig"
)

// RateLimits is what the rate limit service for Envoy runs on.
type RateLimits struct {
	// Config is read from files of envoyproxy/ratelimit.
	Config *envoyconfig.Config
	// Read reads Config again, and Files are the files it reads. Default: it never changes.
	Read  func() (*envoyconfig.Config, error)
	Files func() []string
	// Store keeps the counters. A table keeps nothing else: its rules are those of Config. A store that keeps rules apart by their
	// names, as one on Redis does, may be the gate's. The server does not close it.
	Store limiter.Store
	// Fixed counts as envoyproxy/ratelimit does: windows that begin at full minutes, each descriptor for itself, refused hits
	// counted. Otherwise windows are exact, and all descriptors of a request are charged or none.
	Fixed bool
	// Clock is read once a request. Required.
	Clock func() time.Time
}

// rls is Envoy's rate limit service (envoy.service.ratelimit.v3).
type rls struct {
	rlsv3.UnimplementedRateLimitServiceServer
	*service
	limits *RateLimits
	rules  rlRules
	taken  *ledger
}

func newRLS(ctx context.Context, s *service, o *RateLimits) (*rls, error) {
	r := &rls{service: s, limits: o, rules: rlRules{store: o.Store}, taken: newLedger()}
	return r, r.rules.set(ctx, o.Config)
}

// maxDescriptors is how many descriptors one request may have.
const maxDescriptors = 100

// ShouldRateLimit answers for all descriptors of a request. An error is for Envoy's failure_mode_deny to judge.
func (r *rls) ShouldRateLimit(ctx context.Context, in *rlsv3.RateLimitRequest) (*rlsv3.RateLimitResponse, error) {
	if !r.inFlight.enter() {
		r.metrics.shed.Inc()
		return nil, errBusy
	}
	defer r.inFlight.leave()
	start, now := time.Now(), r.limits.Clock()
	hits, err := r.hits(ctx, r.rules.now.Load(), now, in)
	if err == nil {
		err = r.judge(ctx, now, hits)
	}
	r.metrics.rls.seconds.Observe(time.Since(start).Seconds())
	if err != nil {
		f := r.failureOf(err)
		r.metrics.failed(f)
		return nil, f
	}
	return r.answer(hits), nil
}

func (r *rls) failureOf(err error) *failure {
	var own *failure
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return failureOf(err, r.log)
	}
	r.log.Error("the store of the rate limit service failed", "err", err)
	return &failure{code: codes.Unavailable, reason: "STORE_UNAVAILABLE", message: "the store cannot be reached: ask again", retryAfter: askAgain}
}

// hit is one descriptor of a request and what became of it.
type hit struct {
	limit  *envoyconfig.Limit // nil: no limit, or one that another replaces
	rule   *limiter.Rule      // nil for a limit of 0
	key    limiter.Key
	cost   int64
	refund bool

	over      bool
	remaining int64
	reset     time.Duration
}

func (h *hit) counts() bool { return h.limit != nil && !h.limit.Unlimited }

// hopeless says that a hit can never fit.
func (h *hit) hopeless() bool { return h.rule == nil || h.cost > h.limit.RequestsPerUnit }

func (h *hit) charge(cost int64) limiter.Charge {
	return limiter.Charge{Rule: h.rule, Key: h.key, Cost: cost}
}

// hits finds the limit of each descriptor.
func (r *rls) hits(ctx context.Context, by *rlSet, now time.Time, in *rlsv3.RateLimitRequest) ([]hit, error) {
	switch n := len(in.GetDescriptors()); {
	case in.GetDomain() == "":
		return nil, invalid("domain", "it is empty: write the domain of the configuration")
	case n == 0 || n > maxDescriptors:
		return nil, invalid("descriptors", fmt.Sprintf("write 1 to %d", maxDescriptors))
	}
	hits := make([]hit, len(in.Descriptors))
	replaced := make(map[string]bool)
	for i, d := range in.Descriptors {
		h := &hits[i]
		entries := make([]envoyconfig.Entry, len(d.GetEntries()))
		for j, e := range d.GetEntries() {
			entries[j] = envoyconfig.Entry{Key: e.GetKey(), Value: e.GetValue()}
		}
		h.cost, h.refund = max(1, int64(in.GetHitsAddend())), d.GetIsNegativeHits()
		if a := d.GetHitsAddend(); a != nil {
			h.cost = int64(min(a.GetValue(), math.MaxUint32))
		}
		counter := entries
		if o := d.GetLimit(); o != nil && by.config.Has(in.Domain) {
			if h.limit = override(o); h.limit == nil {
				return nil, invalid("descriptors", "the unit of a limit is not known")
			}
		} else {
			h.limit, counter = by.config.Find(in.Domain, entries)
		}
		if h.limit == nil {
			continue
		}
		for _, name := range h.limit.Replaces {
			replaced[name] = true
		}
		if h.counts() && h.limit.RequestsPerUnit > 0 {
			var err error
			if h.rule, err = r.rules.of(ctx, by, h.limit); err != nil {
				return nil, err
			}
			h.key = r.limits.Store.Key(r.counterKey(now, in.Domain, counter, h.limit))
		}
	}
	for i := range hits {
		if h := &hits[i]; h.counts() && h.limit.Name != "" && replaced[h.limit.Name] {
			h.limit = nil
		}
	}
	return hits, nil
}

// override is the limit that a descriptor brings along; nil for a unit that is none.
func override(o *rlv3.RateLimitDescriptor_RateLimitOverride) *envoyconfig.Limit {
	l := &envoyconfig.Limit{RequestsPerUnit: int64(o.GetRequestsPerUnit()), Unit: envoyconfig.Unit(o.GetUnit().String())}
	if l.Unit.Window() == 0 {
		return nil
	}
	return l
}

// counterKey names a counter: parts with their lengths before them, so that no two are alike. Fixed windows are counters of
// their own: what is taken in one outlives it, so that none is forgotten within it.
func (r *rls) counterKey(now time.Time, domain string, entries []envoyconfig.Entry, l *envoyconfig.Limit) []byte {
	var b []byte
	add := func(s string) { b = append(append(strconv.AppendInt(b, int64(len(s)), 10), ':'), s...) }
	add(domain)
	for _, e := range entries {
		add(e.Key)
		add(e.Value)
	}
	if r.limits.Fixed {
		b = strconv.AppendInt(append(b, '@'), now.Unix()/int64(l.Unit.Window()/time.Second), 10)
	}
	return b
}

// answer is what Envoy is told.
func (r *rls) answer(hits []hit) *rlsv3.RateLimitResponse {
	out := &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OK}
	var wait time.Duration
	over, quotas, quotasOver := "", 0, 0
	for i := range hits {
		h := &hits[i]
		s := &rlsv3.RateLimitResponse_DescriptorStatus{Code: rlsv3.RateLimitResponse_OK}
		out.Statuses = append(out.Statuses, s)
		switch {
		case h.limit == nil:
			continue
		case h.limit.Unlimited:
			s.LimitRemaining = math.MaxUint32
			continue
		}
		s.CurrentLimit = &rlsv3.RateLimitResponse_RateLimit{Name: h.limit.Name, RequestsPerUnit: uint32(h.limit.RequestsPerUnit),
			Unit: rlsv3.RateLimitResponse_RateLimit_Unit(rlsv3.RateLimitResponse_RateLimit_Unit_value[string(h.limit.Unit)])}
		s.LimitRemaining, s.DurationUntilReset = uint32(h.remaining), durationpb.New(time.Duration(wholeSeconds(h.reset))*time.Second)
		if h.limit.Quota {
			quotas++
		}
		if !h.over || h.limit.Shadow {
			continue
		}
		s.Code = rlsv3.RateLimitResponse_OVER_LIMIT
		if h.limit.Quota {
			quotasOver++
			continue
		}
		wait, over = max(wait, h.reset), h.limit.Path
		out.OverallCode = rlsv3.RateLimitResponse_OVER_LIMIT
	}
	if quotas > 0 && quotas == quotasOver {
		out.OverallCode = rlsv3.RateLimitResponse_OVER_LIMIT
	}
	r.metrics.rateLimits.with(out.OverallCode.String(), "").Inc()
	if out.OverallCode == rlsv3.RateLimitResponse_OVER_LIMIT {
		// Nothing else: a content-type here is joined to that of the answer, and where Envoy does not enforce the limit, what
		// stands here reaches the client beside the application's answer.
		if wait > 0 {
			out.ResponseHeadersToAdd = []*corev3.HeaderValue{{Key: "retry-after", Value: strconv.FormatInt(wholeSeconds(wait), 10)}}
		}
		out.DynamicMetadata = &structpb.Struct{Fields: map[string]*structpb.Value{
			"verdict": structpb.NewStringValue("deny"), "rule": structpb.NewStringValue(over)}}
	}
	return out
}
