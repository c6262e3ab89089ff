package server

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
)

// Tally is the metrics that are counted off the road: an observer of the gate, given to New in Options.Tally. What the gate's ring
// dropped is missing here, and counted in sendgate_observer_dropped_total.
type Tally struct {
	prices *prices.Table // nil where there are none
	policy atomic.Pointer[func() *policy.Policy]
	stages [gate.Stages]prometheus.Observer

	rules    *prometheus.CounterVec
	accounts *prometheus.CounterVec
	money    *prometheus.CounterVec
	warnings *prometheus.CounterVec
	lag      *prometheus.HistogramVec
	stage    *prometheus.HistogramVec

	// Resolved once, by the one goroutine that observes.
	byRule, byAccount map[[2]string]prometheus.Counter
	byDecision        map[string]prometheus.Counter
	byOutcome         map[gate.Outcome]prometheus.Observer
	judgedBy          *policy.Policy  // that known was made of
	known             map[string]bool // accounts with series of their own
}

// maxAccounts is how many accounts have series of their own.
const maxAccounts = 200

// NewTally makes the metrics of one gate. table is the gate's, nil for none.
func NewTally(table *prices.Table) *Tally {
	t := &Tally{prices: table, byRule: map[[2]string]prometheus.Counter{}, byAccount: map[[2]string]prometheus.Counter{},
		byDecision: map[string]prometheus.Counter{}, byOutcome: map[gate.Outcome]prometheus.Observer{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sendgate", Name: name, Help: help}, labels)
	}
	t.rules = counter("rule_refusals_total", "Checks that a rule decided against, by rule and verdict.", "rule", "verdict")
	t.accounts = counter("account_checks_total", "Answered checks by account and verdict: the first accounts of the policy by name; other for all others, none for sends that name none.", "account", "verdict")
	t.money = counter("spend_total", "What sends cost by the price table, in its currency: let_through, stopped, or given_back because they were not sent after all.", "currency", "decision")
	t.warnings = counter("budget_warnings_total", "Times that a budget was spent as far as its warn_at.", "rule")
	t.lag = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "sendgate", Name: "outcome_lag_seconds", Help: "How long after its check an outcome happened, as reported.",
		Buckets:                     []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600},
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
	}, []string{"outcome"})
	t.stage = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "sendgate", Name: "stage_seconds", Help: "How long the parts of a decision took, of one check in " + gate.TimedOneIn + ".",
		Buckets:                     []float64{2.5e-7, 1e-6, 2.5e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1},
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
	}, []string{"stage"})
	for s := range gate.Stages {
		t.stages[s] = t.stage.WithLabelValues(s.String())
	}
	if table != nil {
		for _, decision := range []string{"let_through", "stopped", "given_back"} {
			t.byDecision[decision] = t.money.WithLabelValues(table.Currency(), decision)
		}
	}
	return t
}

// Stage is for gate.Options.Stage.
func (t *Tally) Stage(s gate.Stage, took time.Duration) { t.stages[s].Observe(took.Seconds()) }

// Stopwatch is for gate.Options.Stopwatch.
func Stopwatch() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// register puts the metrics into a registry, and learns which accounts there are.
func (t *Tally) register(r prometheus.Registerer, policyInForce func() *policy.Policy) {
	t.policy.Store(&policyInForce)
	p := policyInForce()
	for i := range p.Spend {
		t.warnings.WithLabelValues(p.Spend[i].Name) // at 0, as metrics.begin has it
	}
	r.MustRegister(t.rules, t.accounts, t.money, t.warnings, t.lag, t.stage)
}

// Checked is called by the gate, from one goroutine.
func (t *Tally) Checked(e *gate.Event) {
	v := &e.Verdict
	verdict := v.Kind.String()
	if v.Kind != gate.Allow && v.Rule != "" {
		count(t.byRule, t.rules, v.Rule, verdict)
	}
	count(t.byAccount, t.accounts, t.account(e.Send.Account), verdict)
	for _, w := range e.Warned {
		if w.First {
			t.warnings.WithLabelValues(w.Rule).Inc() // once in a window
		}
	}
	if v.Kind == gate.Allow {
		t.spend("let_through", e)
	} else {
		t.spend("stopped", e)
	}
}

// Reported is called by the gate for an outcome that was counted.
func (t *Tally) Reported(e *gate.Event) {
	o := e.Reported.Outcome
	lag, ok := t.byOutcome[o]
	if !ok {
		lag = t.lag.WithLabelValues(o.String())
		t.byOutcome[o] = lag
	}
	lag.Observe(max(0, e.Reported.OccurredAt.Sub(e.Verdict.At).Seconds()))
	if o == gate.NotSent {
		t.spend("given_back", e)
	}
}

func (t *Tally) spend(decision string, e *gate.Event) {
	if t.prices == nil || e.Verdict.Reason == "list:test" { // which is not sent
		return
	}
	micros, err := t.prices.Cost(e.Send.Number.Digits(), e.Cost)
	if err != nil {
		return // more than can be counted, and so never sent
	}
	t.byDecision[decision].Add(float64(micros) / 1e6)
}

// account is the label of an account: only what the policy names is one, so that nobody can make series by naming accounts.
func (t *Tally) account(name string) string {
	if name == "" {
		return "none"
	}
	inForce := t.policy.Load()
	if inForce == nil {
		return overflow
	}
	if p := (*inForce)(); p != t.judgedBy {
		t.judgedBy, t.known = p, t.newAccounts(p)
	}
	if t.known[name] {
		return name
	}
	return overflow
}

// newAccounts is which accounts of a policy have series. Those that had them keep them: a reload must not make more and more.
func (t *Tally) newAccounts(p *policy.Policy) map[string]bool {
	known := make(map[string]bool, maxAccounts)
	for name := range t.known {
		known[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(p.Accounts)) {
		if len(known) < maxAccounts {
			known[name] = true
		}
	}
	return known
}

// count counts by two labels, the first of which has at most maxSeries values.
func count(seen map[[2]string]prometheus.Counter, vec *prometheus.CounterVec, a, b string) {
	c, ok := seen[[2]string{a, b}]
	if !ok {
		if len(seen) >= maxSeries {
			vec.WithLabelValues(overflow, b).Inc()
			return
		}
		c = vec.WithLabelValues(a, b)
		seen[[2]string{a, b}] = c
	}
	c.Inc()
}
