package observe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	rulesFile     = "../../deploy/prometheus/sendgate.rules.yml"
	rulesTests    = "../../deploy/prometheus/sendgate.test.yml"
	dashboardFile = "../../deploy/grafana/sendgate.json"
)

func TestRules(t *testing.T) {
	promtool := real(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", rulesFile}, {"test", "rules", rulesTests}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// Each alert has a test, and says where to read on.
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(rulesTests)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(tests), "alertname: "+alert[1]+"\n") || !strings.Contains(string(docs), alert[1]) {
			t.Errorf("%s is not tested, or docs/observability.md does not tell of it", alert[1])
		}
	}
	for _, anchor := range regexp.MustCompile(`observability\.md#([\w-]+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(docs), `<a id="`+anchor[1]+`">`) {
			t.Errorf("docs/observability.md has no %s", anchor[1])
		}
	}
}

// queries are all of the dashboard, ready to be asked.
func queries(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(src, &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	add := func(expr string) {
		all = append(all, strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m").Replace(expr))
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			add(target.Expr)
		}
	}
	for _, a := range board.Annotations.List {
		add(a.Expr)
	}
	if len(all) < 40 {
		t.Fatalf("only %d queries", len(all))
	}
	return all
}

// priced is a policy with what makes every metric appear.
func priced(t *testing.T, dir string) []string {
	t.Helper()
	files := map[string]string{
		"policy.yaml": `version: 1
limits:
  - {name: number-minute, by: [number], limit: 1, window: 60s}
  - {name: number-tight, by: [number], limit: 1, window: 1h, mode: shadow}
spend: [{name: country-day, by: [country], budget: 0.50, currency: USD, window: 24h, warn_at: 50%}]
`,
		"prices.csv": "prefix,price,currency\n65,0.05,USD\n44,0.04,USD\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--policy", filepath.Join(dir, "policy.yaml"), "--prices", filepath.Join(dir, "prices.csv")}
}

// TestPrometheus lets a real Prometheus scrape a real run, with native histograms, under the rules that are shipped, and asks it every
// query of the dashboard.
func TestPrometheus(t *testing.T) {
	promtool, prometheus := real(t, "promtool"), real(t, "prometheus")
	dir := t.TempDir()
	s := start(t, priced(t, dir)...)
	const sends = 200
	for i := range sends {
		v, err := s.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: fmt.Sprintf("+65812345%02d", i%50), ClientAddress: "203.0.113.7", Purpose: sendgatev1.Purpose_PURPOSE_OTP})
		if err != nil {
			t.Fatal(err)
		}
		outcome := sendgatev1.Outcome_OUTCOME_VERIFIED
		if i%3 == 0 {
			outcome = sendgatev1.Outcome_OUTCOME_NOT_SENT
		}
		if v.Verdict == sendgatev1.Verdict_VERDICT_ALLOW {
			if _, err := s.ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: v.CheckId, Outcome: outcome}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.CheckVerify(t.Context(), &sendgatev1.CheckVerifyRequest{Number: "+6581234500", ClientAddress: "203.0.113.7"}); err != nil {
		t.Fatal(err)
	}
	lint := exec.Command(promtool, "check", "metrics")
	_, text, _ := strings.Cut(s.get("/metrics", "Accept", "text/plain"), "\r\n# ")
	lint.Stdin = strings.NewReader("# " + text)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}

	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(`global: {scrape_interval: 250ms, evaluation_interval: 250ms}
rule_files: [`+strconv.Quote(rules)+`]
scrape_configs: [{job_name: sendgate, static_configs: [{targets: [`+strconv.Quote(s.httpAddr)+`]}]}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	var said lockedBuffer
	cmd := exec.Command(prometheus, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "tsdb"), "--web.listen-address", addr,
		"--enable-feature=native-histograms", "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", said.String())
		}
	})
	defer stop()
	p := &prom{t: t, url: "http://" + addr}
	await(t, "a scrape of every check", func() bool { return p.value(`sum(sendgate_checks_total)`) == sends })

	for query, want := range map[string]float64{
		`sum(sendgate_checks_total{verdict="allow"}) + sum(sendgate_checks_total{verdict!="allow"})`:             sends,
		`sum(sendgate_account_checks_total{account="none"})`:                                                     sends,
		`sum(histogram_count(sendgate_check_seconds{surface="grpc"}))`:                                           sends, // a native one
		`sum(sendgate_refused_total) == bool sum(sendgate_checks_total{verdict!="allow"})`:                       1,
		`sum(sendgate_spend_total{decision="let_through"}) > bool 0`:                                             1,
		`abs(sum(sendgate_spend_total{decision!="given_back"}) - 0.05 * sum(sendgate_checks_total)) < bool 1e-6`: 1,
		`sum(sendgate_budget_warnings_total) > bool 0`:                                                           1,
		`sum(sendgate_outcome_lag_seconds_count) or sum(histogram_count(sendgate_outcome_lag_seconds)) > bool 0`: 1,
		`sendgate_feedback{state="reporting"}`:                                                                   1,
		`sum(sendgate_audit_records_total{log="changes"}) > bool 1`:                                              1,
	} {
		await(t, query, func() bool { return p.value(query) == want })
	}

	// Every name in the dashboard and in the rules exists; every query is one.
	exist := map[string]bool{}
	for _, name := range p.names() {
		exist[name] = true
	}
	shipped, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	all := queries(t)
	name := regexp.MustCompile(`\b(?:sendgate|go|process|job:sendgate)_[a-z0-9_:]+`)
	for _, found := range name.FindAllString(strings.Join(all, "\n")+string(shipped), -1) {
		base := found
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if !exist[found] && !exist[base] && !strings.HasPrefix(found, "job:") {
			t.Errorf("%s is asked for, and there is no such metric", found)
		}
	}
	for _, q := range all {
		p.ask(q)
	}
	var loaded struct {
		Groups []struct {
			Name  string
			Rules []struct{ Name, Health, LastError string }
		}
	}
	await(t, "an evaluation of every rule", func() bool {
		p.get("/api/v1/rules", &loaded)
		return len(loaded.Groups) == 3 && !slices.ContainsFunc(loaded.Groups[2].Rules, func(r struct{ Name, Health, LastError string }) bool { return r.Health == "unknown" })
	})
	for _, g := range loaded.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" && r.Health != "unknown" {
				t.Errorf("%s: %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	stop()
}

// prom asks a Prometheus.
type prom struct {
	t   *testing.T
	url string
}

func (p *prom) get(path string, into any) error {
	res, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

type samples struct {
	Result []struct{ Value [2]any }
}

func (p *prom) query(q string) (s samples, err error) {
	return s, p.get("/api/v1/query?query="+url.QueryEscape(q), &s)
}

// value is that of a query with one sample; -1 for none.
func (p *prom) value(q string) float64 {
	s, err := p.query(q)
	if err != nil || len(s.Result) != 1 {
		return -1
	}
	text, _ := s.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1
	}
	return v
}

func (p *prom) ask(q string) {
	p.t.Helper()
	if _, err := p.query(q); err != nil {
		p.t.Errorf("%s: %v", q, err)
	}
}

func (p *prom) names() (names []string) {
	p.t.Helper()
	if err := p.get("/api/v1/label/__name__/values", &names); err != nil {
		p.t.Fatal(err)
	}
	return names
}
