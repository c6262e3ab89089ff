package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// scrape reads /metrics as a server that accepts a format does.
func (r *running) scrape(t *testing.T, accept string) (families map[string]*dto.MetricFamily, kind string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := httpClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	kind = res.Header.Get("Content-Type")
	if strings.Contains(kind, "openmetrics") {
		text, err := io.ReadAll(res.Body)
		if err != nil || !strings.HasSuffix(string(text), "# EOF\n") {
			t.Errorf("%v: it does not end as OpenMetrics does", err)
		}
		return nil, kind
	}
	families = map[string]*dto.MetricFamily{}
	in := expfmt.NewDecoder(res.Body, expfmt.NewFormat(map[bool]expfmt.FormatType{true: expfmt.TypeProtoDelim, false: expfmt.TypeTextPlain}[strings.Contains(kind, "protobuf")]))
	for {
		f := new(dto.MetricFamily)
		if err := in.Decode(f); err == io.EOF {
			return families, kind
		} else if err != nil {
			t.Fatal(err)
		}
		families[f.GetName()] = f
	}
}

// value is that of the series whose labels are name=value, one after the other.
func value(f *dto.MetricFamily, labels ...string) float64 {
	sum := 0.0
	for _, m := range f.GetMetric() {
		fits := 0
		for _, l := range m.Label {
			for i := 0; i < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					fits += 2
				}
			}
		}
		if fits == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

func TestMetrics_formats(t *testing.T) {
	r := start(t, setup{policy: oneAnHour})
	for range 3 {
		r.check(t, send("+6581234567", "203.0.113.7"))
	}
	if _, kind := r.scrape(t, "application/openmetrics-text; version=1.0.0"); !strings.HasPrefix(kind, "application/openmetrics-text") {
		t.Error(kind)
	}
	plain, kind := r.scrape(t, "text/plain")
	if !strings.HasPrefix(kind, "text/plain") || value(plain["sendgate_checks_total"]) != 3 || value(plain["sendgate_refused_total"], "reason", "limit:one") != 2 {
		t.Error(kind, plain["sendgate_checks_total"])
	}
	native, _ := r.scrape(t, protobuf)
	for _, m := range native["sendgate_check_seconds"].GetMetric() {
		if h := m.GetHistogram(); h.GetSampleCount() == 3 && (len(h.PositiveSpan) == 0 || len(h.Bucket) == 0) {
			t.Errorf("not both kinds of buckets: %v", h)
		}
	}
}

// Whatever callers send, the number of series stays.
func TestMetrics_boundedByNoCaller(t *testing.T) {
	tally := server.NewTally(nil)
	r := start(t, setup{policy: "limits: [{name: one, by: [number, account, endpoint], limit: 1, window: 1h}]\n", observers: []gate.Observer{tally}, options: func(o *server.Options) { o.Tally = tally }})
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string { return fmt.Sprintf("t%d", random.Uint32()) }
	flood := func(n int) {
		for range n {
			number := fmt.Sprintf("+6581%06d", random.IntN(1_000_000))
			if random.IntN(10) == 0 {
				number = text()
			}
			client := fmt.Sprintf("203.0.%d.%d", random.IntN(256), random.IntN(256))
			_, _ = r.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: number, ClientAddress: client, Account: text(), Subaccount: text(), Endpoint: text(),
				Channel: []string{"sms", text()}[random.IntN(2)], Purpose: sendgatev1.Purpose(random.IntN(5)), IdempotencyKey: text()})
			_, _ = r.ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: text(), Outcome: sendgatev1.Outcome(random.IntN(20)), Detail: text()})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/"+text(), strings.NewReader(text()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", client)
			if res, err := httpClient(t).Do(req); err == nil {
				res.Body.Close()
			}
		}
	}
	series := func() (n int) {
		all, _ := r.scrape(t, "text/plain")
		for _, f := range all {
			n += len(f.Metric)
		}
		return n
	}
	flood(300)
	before := series()
	flood(600)
	if after := series(); after > before {
		t.Errorf("%d series became %d", before, after)
	}
}

// tallied is what a Tally says.
func tallied(t *testing.T, tally *server.Tally, p *policy.Policy) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	server.RegisterTally(tally, r, func() *policy.Policy { return p })
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

func TestTally(t *testing.T) {
	p, err := policy.Parse("test.yaml", []byte("version: 1\nlimits: [{name: one, by: [number], limit: 1, window: 1h}]\naccounts: {acme: {}, zeta: {}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := prices.Parse("prices.csv", []byte("prefix,price,currency\n65,0.05,USD\n44,0.04,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	tally := server.NewTally(table)
	tallied(t, tally, p)
	at := time.Unix(1_800_000_000, 0)
	number, err := phone.Parse("+6581234567", "")
	if err != nil {
		t.Fatal(err)
	}
	event := func(account string, kind gate.Kind, rule string) *gate.Event {
		return &gate.Event{Send: policy.Send{Number: number, Account: account}, Cost: 2, Verdict: gate.Verdict{Kind: kind, Rule: rule, At: at}}
	}
	tally.Checked(event("acme", gate.Allow, "one"))
	tally.Checked(event("acme", gate.Deny, "one"))
	tally.Checked(event("", gate.Challenge, "one"))
	tally.Checked(event("+6581234567", gate.Allow, ""))
	tally.Reported(&gate.Event{Send: policy.Send{Number: number}, Cost: 2, Verdict: gate.Verdict{At: at},
		Reported: &gate.Reported{Outcome: gate.NotSent, OccurredAt: at.Add(3 * time.Second)}})
	tally.Stage(gate.StageTake, time.Microsecond)
	got := tallied(t, tally, p)
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"sendgate_account_checks_total", []string{"account", "acme", "verdict", "allow"}, 1},
		{"sendgate_account_checks_total", []string{"account", "none", "verdict", "challenge"}, 1},
		{"sendgate_account_checks_total", []string{"account", "other"}, 1},
		{"sendgate_account_checks_total", nil, 4},
		{"sendgate_rule_refusals_total", []string{"rule", "one", "verdict", "deny"}, 1},
		{"sendgate_rule_refusals_total", nil, 2},
		{"sendgate_spend_total", []string{"currency", "USD", "decision", "let_through"}, .2},
		{"sendgate_spend_total", []string{"decision", "stopped"}, .2},
		{"sendgate_spend_total", []string{"decision", "given_back"}, .1},
		{"sendgate_outcome_lag_seconds", []string{"outcome", "not_sent"}, 1},
		{"sendgate_stage_seconds", []string{"stage", "take"}, 1},
	} {
		if v := value(got[tt.name], tt.labels...); v < tt.want-1e-9 || v > tt.want+1e-9 {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, v, tt.want)
		}
	}
	for _, f := range got {
		if strings.Contains(f.String(), "8123456") {
			t.Errorf("a number: %v", f)
		}
	}
}
