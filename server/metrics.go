package server

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// metrics are what /metrics tells. No label takes a value that comes from a caller: rules and reasons are words of the
// policy, the rest are constants. What counts checks is counted on the road itself, not from the ring, so that it is exact.
type metrics struct {
	registry *prometheus.Registry

	verdicts [4]prometheus.Counter // by gate.Kind
	refused  *resolved             // verdict, reason
	shadow   *resolved             // rule, verdict
	skipped  *resolved             // rule
	errors   *resolved             // code
	// unchecked are requests of proxies in which no send could be found.
	unchecked  *resolved // cause, action
	rateLimits *resolved // code
	outcomes   *resolved // outcome, result
	verify     *resolved // verdict, reason
	shed       prometheus.Counter
	panics     prometheus.Counter
	known      func() *policy.Policy         // in force
	begun      atomic.Pointer[policy.Policy] // for which begin was done

	grpc, stream, batch, http, extAuthz, forwardAuth, rls *surface
}

// Native histograms have buckets a tenth wide, from a microsecond to a second in less than this many.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
)

// surface is where checks come in.
type surface struct{ seconds prometheus.Observer }

func newMetrics(version string, g *gate.Gate, store limiter.Store, inFlight func() float64) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sendgate", Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	verdicts := counter("checks_total", "Answered checks by verdict.", "verdict")
	for k := gate.Allow; k <= gate.Challenge; k++ {
		m.verdicts[k] = verdicts.WithLabelValues(k.String())
	}
	m.refused = &resolved{vec: counter("refused_total", "Checks that were not allowed, by verdict and reason.", "verdict", "reason")}
	m.shadow = &resolved{vec: counter("shadow_total", "What rules in shadow mode would have said.", "rule", "verdict")}
	m.skipped = &resolved{vec: counter("skipped_total", "Charges that a rule could not take and whose fail mode let the send pass.", "rule")}
	m.errors = &resolved{vec: counter("errors_total", "Checks answered with an error, by gRPC code.", "code")}
	m.unchecked = &resolved{vec: counter("unchecked_total", "Requests of proxies that no send was found in, by what was wrong and what the policy says then.", "cause", "action")}
	m.outcomes = &resolved{vec: counter("outcomes_total", "Reported outcomes, by what the report did.", "outcome", "result")}
	m.verify = &resolved{vec: counter("verify_total", "Answered questions about entered codes, by verdict and reason.", "verdict", "reason")}
	m.rateLimits = &resolved{vec: counter("rate_limits_total", "Answers of the rate limit service for Envoy, by their overall code.", "code")}
	m.shed = counter("shed_total", "Calls refused because too many were in flight.").WithLabelValues()
	m.panics = counter("panics_total", "Panics caught in a handler. Each one is a bug.").WithLabelValues()

	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "sendgate", Name: "check_seconds", Help: "How long a decision took, without the wire; of a batch the mean of its items.",
		Buckets: []float64{1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1},
		// A server that asks for native histograms gets buckets a tenth wide beside these.
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
	}, []string{"surface"})
	m.registry.MustRegister(seconds)
	of := func(name string) *surface { return &surface{seconds.WithLabelValues(name)} }
	m.grpc, m.stream, m.batch, m.http = of("grpc"), of("stream"), of("batch"), of("http")
	m.extAuthz, m.forwardAuth, m.rls = of("ext_authz"), of("forward_auth"), of("rls")

	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&state{version: version, gate: g, store: store, inFlight: inFlight})
	return m
}

// more adds the metrics of what a server may have or not.
func (m *metrics) more(o *Options) {
	if o.Tally != nil {
		o.Tally.register(m.registry, o.Gate.Policy)
	}
	m.known = o.Gate.Policy
	m.begin()
	h := &condition{trail: o.Trail}
	h.store, _ = o.Store.(faulty)
	m.registry.MustRegister(h)
}

// begin makes the series that alerts watch, at 0: of a counter that appears with its first event, that event is no increase. It is done
// again for each policy.
func (m *metrics) begin() {
	p := m.known()
	if m.begun.Swap(p) == p {
		return
	}
	for i := range p.Limits {
		m.skipped.with(p.Limits[i].Name, "")
	}
	for i := range p.Spend {
		m.skipped.with(p.Spend[i].Name, "")
	}
	for _, code := range []codes.Code{codes.Internal, codes.Unavailable, codes.DeadlineExceeded, codes.Unknown} {
		m.errors.with(code.String(), "")
	}
}

// handler is GET /metrics. A server that accepts OpenMetrics or protobuf, which native histograms need, gets that.
func (m *metrics) handler() http.Handler {
	all := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.begin()
		all.ServeHTTP(w, r)
	})
}

func (m *metrics) answered(v *gate.Verdict) {
	m.verdicts[v.Kind].Inc()
	if v.Kind != gate.Allow {
		m.refused.with(v.Kind.String(), v.Reason).Inc()
	}
	for i := range v.Shadow {
		m.shadow.with(v.Shadow[i].Rule, v.Shadow[i].Kind.String()).Inc()
	}
	for _, rule := range v.Skipped {
		m.skipped.with(rule, "").Inc()
	}
}

func (m *metrics) reported(o gate.Outcome, c gate.Counted) {
	result := "counted"
	if c == gate.Duplicate {
		result = "duplicate"
	}
	m.outcomes.with(o.String(), result).Inc()
}

func (m *metrics) failed(f *failure) { m.errors.with(f.code.String(), "").Inc() }

// count is how many checks got a verdict.
func (m *metrics) count(k gate.Kind) int64 { return total(m.verdicts[k]) }

// total adds up the counters that something holds.
func total(c prometheus.Collector) int64 {
	values := make(chan prometheus.Metric)
	go func() {
		defer close(values)
		c.Collect(values)
	}()
	sum := 0.0
	for v := range values {
		var m dto.Metric
		if v.Write(&m) == nil {
			sum += m.GetCounter().GetValue()
		}
	}
	return int64(sum)
}

// maxSeries is how many series a vector may have: far more than any policy has words. What comes beyond is counted as overflow.
const (
	maxSeries = 1000
	overflow  = "other"
)

// resolved remembers the counters of a vector, so that counting neither hashes labels nor allocates. The second label is
// left out where the vector has one.
type resolved struct {
	vec   *prometheus.CounterVec
	seen  sync.Map // [2]string -> prometheus.Counter
	count atomic.Int64
}

func (r *resolved) with(a, b string) prometheus.Counter {
	key := [2]string{a, b}
	if c, ok := r.seen.Load(key); ok {
		return c.(prometheus.Counter)
	}
	if r.count.Add(1) > maxSeries {
		if key[0] = overflow; b != "" {
			key[1] = overflow
		}
	}
	labels := key[:1]
	if b != "" {
		labels = key[:]
	}
	c := r.vec.WithLabelValues(labels...)
	if key[0] != overflow {
		r.seen.Store(key, c)
	}
	return c
}

// state is what is read when somebody scrapes.
type state struct {
	version  string
	gate     *gate.Gate
	store    limiter.Store
	inFlight func() float64
}

// Describe sends nothing: what is collected depends on the policy in force.
func (s *state) Describe(chan<- *prometheus.Desc) {}

func (s *state) Collect(ch chan<- prometheus.Metric) {
	tell := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var keys, values []string
		for i := 0; i < len(labels); i += 2 {
			keys, values = append(keys, labels[i]), append(values, labels[i+1])
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("sendgate_"+name, help, keys, nil), kind, value, values...)
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	tell(gauge, "build_info", "The program. Always 1.", 1, "version", s.version)
	tell(gauge, "policy_info", "The policy in force. Always 1.", 1, "version", s.gate.Policy().Version)
	tell(gauge, "in_flight", "Calls being answered now.", s.inFlight())
	tell(counter, "observer_dropped_total", "Answers that no observer was told of, because they came faster than it took them.", float64(s.gate.Stats().Dropped))
	for _, state := range []gate.FeedbackState{gate.FeedbackUnknown, gate.FeedbackReporting, gate.FeedbackSilent} {
		value := 0.0
		if s.gate.Feedback() == state {
			value = 1
		}
		tell(gauge, "feedback", "1 for whether callers report that codes were entered: unknown, reporting or silent.", value, "state", state.String())
	}
	asked := s.gate.Stats()
	for state, n := range map[string]int64{"new": asked.Replies.New, "replayed": asked.Replies.Replayed, "conflict": asked.Replies.Conflicts, "full": asked.Replies.Full, "too_long": asked.Unremembered} {
		tell(counter, "idempotency_total", "Questions with an idempotency key, by what was known of it; full and too_long are answers that are not remembered.", float64(n), "state", state)
	}
	for rule, n := range s.gate.Policy().ConditionFailures() {
		tell(counter, "condition_unanswered_total", "Conditions of a rule that could not be answered, so that the rule applied.", float64(n), "rule", rule)
	}
	stats := s.store.Stats()
	tell(gauge, "store_capacity_keys", "Keys that fit into the store.", float64(stats.Capacity))
	tell(gauge, "store_occupied_keys", "Places that hold a key, in use or run out.", float64(stats.Occupied))
	tell(counter, "store_recycled_total", "Keys that had run out and whose place was given to another.", float64(stats.Recycled))
	tell(counter, "store_full_total", "Charges that found no room, by what their rule said then.", float64(stats.FullOpen), "fail", "open")
	tell(counter, "store_full_total", "Charges that found no room, by what their rule said then.", float64(stats.FullClosed), "fail", "closed")
}
