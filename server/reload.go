package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// PolicySource is where the policy comes from, so that it can be read again.
type PolicySource struct {
	// Policy is its file. Empty: the built-in policy, which never changes.
	Policy string
	// Prices is the file of prices. Empty: there is none.
	Prices string
	// Refuse is what this process could not follow without a restart; asked says whether callers would be asked who they are. Default:
	// it follows everything.
	Refuse func(p *policy.Policy, asked bool) error
}

// reloader reads the policy again and puts it in force, or keeps the one that is.
type reloader struct {
	source PolicySource
	gate   *gate.Gate
	book   *identity.Book
	log    *slog.Logger

	mu          sync.Mutex // one at a time
	prices      [sha256.Size]byte
	state       reloadState
	lastRefused string
}

// reloadState is what came of reading the policy since the start.
type reloadState struct {
	at, appliedAt               time.Time // zero: not since the start
	refusal                     string    // why the newest file was refused; "" where it was not
	applied, refused, unchanged int64
}

// reloaded is what one reload came to.
type reloaded struct {
	before, after string // versions
	changed       bool
	changes       []string
}

func newReloader(o *Options) *reloader {
	r := &reloader{source: o.Source, gate: o.Gate, book: o.Identity, log: o.Log}
	if src, err := os.ReadFile(o.Source.Prices); err == nil {
		r.prices = sha256.Sum256(src)
	}
	return r
}

// files are those it reads.
func (r *reloader) files() (out []string) {
	for _, f := range [...]string{r.source.Policy, r.source.Prices} {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}

// reload reads the files again. The next check sees all that changed; on an error none of it does. With dry nothing is put in force, and
// the store is not asked.
func (r *reloader) reload(ctx context.Context, dry bool) (reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out, err := r.load(ctx, dry)
	if dry {
		return out, err
	}
	s := &r.state
	s.at = time.Now()
	switch {
	case err != nil:
		s.refused++
		s.refusal = err.Error()
		if s.refusal != r.lastRefused { // a tick that finds the same file again says nothing new
			r.log.Error("the policy was refused: that of before stays in force", "err", s.refusal, "version", out.before)
		}
	case out.changed:
		s.applied++
		s.appliedAt, s.refusal = s.at, ""
		r.log.Info("policy", "version", out.after, "before", out.before, "changes", strings.Join(out.changes, "; "))
	default:
		s.unchanged++
		if s.refusal != "" {
			r.log.Info("the policy file is as the policy in force again", "version", out.after)
		}
		s.refusal = ""
	}
	r.lastRefused = s.refusal
	return out, err
}

func (r *reloader) load(ctx context.Context, dry bool) (reloaded, error) {
	old := r.gate.Policy()
	out := reloaded{before: old.Version, after: old.Version}
	if len(r.files()) == 0 {
		return out, nil
	}
	p, table, sum, err := r.read(old)
	if err != nil {
		return out, err
	}
	put, asked, err := r.book.Ready(p.Accounts)
	if err != nil {
		return out, err
	}
	if r.source.Refuse != nil {
		if err := r.source.Refuse(p, asked); err != nil {
			return out, fmt.Errorf("it needs a restart: %w", err)
		}
	}
	newPrices := sum != r.prices
	if p.Version == old.Version && !newPrices {
		return out, nil
	}
	out.changes = gate.Changes(old, p)
	if newPrices {
		out.changes = append(out.changes, "prices changed")
	}
	out.after, out.changed = p.Version, true
	if dry {
		return out, gate.CheckPrices(p, table)
	}
	if err := r.gate.SetPolicyAndPrices(ctx, p, table); err != nil {
		return out, err
	}
	put()
	r.prices = sum
	return out, nil
}

// read reads the files.
func (r *reloader) read(old *policy.Policy) (p *policy.Policy, table *prices.Table, sum [sha256.Size]byte, err error) {
	p, table, sum = old, r.gate.Prices(), r.prices
	if r.source.Policy != "" {
		src, err := os.ReadFile(r.source.Policy)
		if err != nil {
			return nil, nil, sum, err
		}
		if p, err = policy.Parse(r.source.Policy, src); err != nil {
			return nil, nil, sum, err
		}
	}
	if r.source.Prices == "" {
		return p, table, sum, nil
	}
	src, err := os.ReadFile(r.source.Prices)
	if err != nil {
		return nil, nil, sum, err
	}
	next, err := prices.Parse(r.source.Prices, src)
	switch {
	case err != nil:
		return nil, nil, sum, err
	case table != nil && next.Currency() != table.Currency():
		return nil, nil, sum, fmt.Errorf("%s: prices were in %s and are in %s: another currency needs a restart", r.source.Prices, table.Currency(), next.Currency())
	}
	return p, next, sha256.Sum256(src), nil
}

// now is the state, for operators.
func (r *reloader) now() reloadState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// tell puts the state into an answer.
func (s *reloadState) tell(out *sendgatev1.PolicyStatus) {
	out.Error, out.Reloads, out.Refused = s.refusal, s.applied, s.refused
	if !s.at.IsZero() {
		out.ReadAt = timestamppb.New(s.at)
	}
}

// ReloadPolicy reads the policy file again.
func (a *admin) ReloadPolicy(ctx context.Context, in *sendgatev1.ReloadPolicyRequest) (*sendgatev1.ReloadPolicyResponse, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	out, err := a.reloads.reload(ctx, true)
	if err == nil && !in.DryRun {
		entry, refused := a.change(ctx, "reload_policy", in.Reason, in.Author)
		if refused != nil {
			return nil, refused
		}
		a.changing.Lock()
		defer a.changing.Unlock()
		load := func() error {
			out, err = a.reloads.reload(ctx, false)
			return err
		}
		if entry.Values = []string{out.before, out.after}; out.changed {
			err = a.audit.around(entry, load)
		} else {
			err = load()
		}
	}
	if err != nil {
		return nil, &failure{code: codes.FailedPrecondition, reason: "POLICY_REFUSED", message: err.Error()}
	}
	return &sendgatev1.ReloadPolicyResponse{Changed: out.changed, Version: out.after, PreviousVersion: out.before, Changes: out.changes}, nil
}

// Describe sends nothing, as that of state.
func (r *reloader) Describe(chan<- *prometheus.Desc) {}

// Collect tells metrics.
func (r *reloader) Collect(ch chan<- prometheus.Metric) {
	s := r.now()
	counts := prometheus.NewDesc("sendgate_policy_reloads_total", "Times that the policy was read again, by what came of it.", []string{"result"}, nil)
	for result, n := range map[string]int64{"applied": s.applied, "refused": s.refused, "unchanged": s.unchanged} {
		ch <- prometheus.MustNewConstMetric(counts, prometheus.CounterValue, float64(n), result)
	}
	gauge := func(name, help string, value float64) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("sendgate_policy_last_reload_"+name, help, nil, nil), prometheus.GaugeValue, value)
	}
	ok := 1.0
	if s.refusal != "" {
		ok = 0
	}
	gauge("ok", "0 while the newest policy file is refused and that of before is in force, else 1.", ok)
	gauge("timestamp_seconds", "When the policy was last read again; 0 for not since the start.", seconds(s.at))
	gauge("applied_timestamp_seconds", "When another policy was last put in force; 0 for not since the start.", seconds(s.appliedAt))
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
