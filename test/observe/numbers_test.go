package observe

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// collector keeps all that is sent to it by OTLP.
type collector struct {
	collectmetrics.UnimplementedMetricsServiceServer
	url string
	mu  sync.Mutex
	all bytes.Buffer
	n   int
}

type spanCollector struct {
	collecttraces.UnimplementedTraceServiceServer
	*collector
}

func (c *collector) keep(m proto.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.all.WriteString(prototext.Format(m))
}

func (c *collector) Export(_ context.Context, in *collectmetrics.ExportMetricsServiceRequest) (*collectmetrics.ExportMetricsServiceResponse, error) {
	c.keep(in)
	return new(collectmetrics.ExportMetricsServiceResponse), nil
}

func (c spanCollector) Export(_ context.Context, in *collecttraces.ExportTraceServiceRequest) (*collecttraces.ExportTraceServiceResponse, error) {
	c.keep(in)
	return new(collecttraces.ExportTraceServiceResponse), nil
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{url: "http://" + l.Addr().String()}
	s := grpc.NewServer()
	collectmetrics.RegisterMetricsServiceServer(s, c)
	collecttraces.RegisterTraceServiceServer(s, spanCollector{collector: c})
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return c
}

const sweepPolicy = `version: 1
limits:
  - {name: number-minute, by: [number], limit: 1, window: 60s}
  - {name: client-minute, by: [client], limit: 40, window: 1m, on_limit: challenge}
  - {name: number-shadow, by: [number], limit: 1, window: 1h, mode: shadow}
proxies:
  unmatched: deny
  profiles:
    sms:
      match: POST /messages
      number: body.json.destination
      purpose: value.transactional
`

// used makes numbers that no other part of the run makes, and remembers them.
type used struct {
	random  *rand.Rand
	numbers []string
}

func (u *used) number() string {
	// Long ones, so that no time stamp looks like one: +44 7911, +49 1511, +1 212, +91 98, and a few of Singapore.
	prefix := []string{"+4479110", "+491511", "+1212", "+9198", "+658"}[len(u.numbers)%5]
	length := map[string]int{"+4479110": 13, "+491511": 13, "+1212": 12, "+9198": 13, "+658": 11}[prefix]
	n := prefix
	for len(n) < length {
		n += fmt.Sprint(2 + u.random.IntN(8)) // no exchange begins with 0 or 1
	}
	u.numbers = append(u.numbers, n)
	return n
}

// traces are the forms in which a number must be nowhere.
func traces(number string) map[string]string {
	code := map[byte]int{'4': 3, '1': 2, '9': 3, '6': 3}[number[1]]
	digits, national := number[1:], number[code:]
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:16]) }
	var big, little [8]byte
	value := uint64(0)
	fmt.Sscan(digits, &value)
	binary.BigEndian.PutUint64(big[:], value)
	binary.LittleEndian.PutUint64(little[:], value)
	return map[string]string{"in clear": digits, "in national digits": national, "spaced": national[:4] + " " + national[4:], "hashed": sum(number), "its digits hashed": sum(digits),
		"as hex": hex.EncodeToString([]byte(digits)), "as 8 bytes": string(big[:]), "as 8 bytes, little": string(little[:])}
}

// TestNoNumberAnywhere runs a sidecar with everything on, and searches all that came out of it, and every file that it left, for every number
// that went in.
func TestNoNumberAnywhere(t *testing.T) {
	otlp := newCollector(t)
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(sweepPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--policy", policy, "--audit-allow", "1", "--otlp", otlp.url, "--trace-sample", "1", "--log-level", "debug")
	u := &used{random: rand.New(rand.NewPCG(11, rand.Uint64()))}
	out := map[string]*strings.Builder{}
	says := func(what, text string) {
		if out[what] == nil {
			out[what] = new(strings.Builder)
		}
		out[what].WriteString(text + "\n")
	}
	answer := func(what string) func(proto.Message, error) {
		return func(m proto.Message, err error) { says(what, fmt.Sprint(prototext.Format(m), err)) }
	}
	ctx := t.Context()
	conn, err := grpc.NewClient(s.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	// Sends: allowed, refused, in other spellings, with a number where none belongs, and wrong.
	var checks []string
	for i := range 60 {
		n := u.number()
		in := &sendgatev1.CheckSendRequest{Number: n, ClientAddress: fmt.Sprintf("203.0.113.%d", i), Account: "acme", Purpose: sendgatev1.Purpose_PURPOSE_OTP, IdempotencyKey: fmt.Sprint("key", i)}
		switch i % 6 {
		case 1:
			in.Endpoint = "/sms/" + n
		case 2:
			in.Account = n
		case 3:
			in.Subaccount = n[1:]
		case 4:
			in.IdempotencyKey = n
		}
		for range 2 {
			v, err := s.CheckSend(ctx, in)
			answer("grpc")(v, err)
			if v.GetVerdict() == sendgatev1.Verdict_VERDICT_ALLOW {
				checks = append(checks, v.CheckId)
			}
			in.IdempotencyKey = ""
		}
	}
	for _, bad := range []*sendgatev1.CheckSendRequest{
		{Number: u.number() + "00000"}, {Number: "call " + u.number()}, {Number: u.number(), ClientAddress: u.number()}, {Number: u.number(), Cost: proto.Int64(-1)}, {Number: u.number(), Channel: u.number()},
	} {
		answer("errors")(s.CheckSend(ctx, bad))
	}
	batch := new(sendgatev1.CheckSendBatchRequest)
	for range 20 {
		n := u.number()
		batch.Items = append(batch.Items, &sendgatev1.CheckSendRequest{Number: n, ClientAddress: "198.51.100.7"}, &sendgatev1.CheckSendRequest{Number: n, ClientAddress: "198.51.100.7"})
	}
	answer("batch")(s.CheckSendBatch(ctx, batch))
	for i, id := range checks {
		answer("outcomes")(s.ReportOutcome(ctx, &sendgatev1.ReportOutcomeRequest{CheckId: id, Account: "acme", Outcome: sendgatev1.Outcome(1 + i%7), Detail: "to " + u.numbers[i%len(u.numbers)]}))
	}
	for _, n := range u.numbers[:10] {
		answer("verify")(s.CheckVerify(ctx, &sendgatev1.CheckVerifyRequest{Number: n, ClientAddress: "203.0.113.9"}))
	}
	for range 5 {
		n := u.number()
		for range 2 {
			says("http", s.post("/v1/check", `{"number":"`+n+`","clientAddress":"203.0.113.88"}`))
		}
		says("http", s.post("/v1/check", `{"nummer":"`+n+`"}`))
		says("http", s.post("/v1/check", `{"number":`+n[1:]+`}`))
		says("http", s.get("/v1/"+n[1:]))
		says("http", s.post("/v1/verify", `{"number":"`+n+`"}`))
		says("http", s.post("/v1/outcomes", `{"checkId":"`+n+`","outcome":"OUTCOME_VERIFIED"}`))
		for range 2 {
			answer("ext_authz")(authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
				Http: &authv3.AttributeContext_HttpRequest{Method: "POST", Path: "/messages", Headers: map[string]string{"content-type": "application/json", "x-forwarded-for": "203.0.113.77"}, Body: `{"destination":"` + n + `"}`},
			}}}))
			answer("ext_authz")(authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
				Http: &authv3.AttributeContext_HttpRequest{Method: "POST", Path: "/" + n},
			}}}))
		}
		says("forward", s.post("/v1/proxy/sms", `{"destination":"`+n+`"}`, "X-Forwarded-Method", "POST", "X-Forwarded-Uri", "/messages"))
	}
	// What detection raises: one number flooded from everywhere.
	victim := u.number()
	for i := range 60 {
		answer("grpc")(s.CheckSend(ctx, &sendgatev1.CheckSendRequest{Number: victim, ClientAddress: fmt.Sprintf("20.%d.7.7", i), Purpose: sendgatev1.Purpose_PURPOSE_OTP}))
	}
	// Operators.
	for _, args := range [][]string{
		{"list", "add", "--addr", s.grpcAddr, "--reason", "complaint", "--author", "alice", "block", u.number(), u.number()}, {"list", "show", "--addr", s.grpcAddr},
		{"list", "remove", "--addr", s.grpcAddr, "--reason", "settled", "--author", "bob", "block", u.numbers[len(u.numbers)-1]},
		{"list", "add", "--addr", s.grpcAddr, "--reason", "it was " + u.number(), "--author", "alice", "block", "+6591234567"},
		{"reset", "--addr", s.grpcAddr, "--reason", "wrong", "--author", "bob", "--number", u.numbers[0]},
		{"check", "--addr", s.grpcAddr, "--number", u.number(), "--client-ip", "203.0.113.5"},
		{"detect", "blocks", "--addr", s.grpcAddr}, {"detect", "status", "--addr", s.grpcAddr}, {"status", "--addr", s.grpcAddr},
		{"audit", "show"}, {"audit", "show", "--json"}, {"audit", "show", "--number", u.numbers[0]}, {"audit", "export"}, {"audit", "verify"},
	} {
		what := strings.Join(args[:min(2, len(args))], " ")
		text := s.command(args...)
		if strings.Contains(text, "error: unknown") || strings.Contains(text, "unexpected argument") {
			t.Errorf("%s: %s", what, text)
		}
		says("command: "+what, text)
	}
	for _, accept := range []string{"text/plain", "application/openmetrics-text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		says("metrics", s.get("/metrics", "Accept", accept))
	}
	s.stop()
	says("log", s.said.String())
	otlp.mu.Lock()
	says("otlp", otlp.all.String())
	if otlp.n < 2 || !strings.Contains(otlp.all.String(), "CheckSend") {
		t.Errorf("only %d exports, or no span", otlp.n)
	}
	otlp.mu.Unlock()
	err = filepath.WalkDir(s.data(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".gz") {
			z, zerr := gzip.NewReader(bytes.NewReader(b))
			if zerr != nil {
				return zerr
			}
			b, err = io.ReadAll(z)
		}
		name, _ := filepath.Rel(s.data(), path)
		says("file "+name, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	// It would be found: the numbers that are looked for are those that were sent, and what is searched is not empty.
	size := 0
	for _, text := range out {
		size += text.Len()
	}
	if len(u.numbers) < 90 || len(out) < 20 || size < 100_000 || !strings.Contains(out["file audit/checks/0000000000000001.jsonl"].String(), `"kind":"deny"`) ||
		!strings.Contains(out["file audit/changes/0000000000000001.jsonl"].String(), "list_add") {
		t.Fatalf("too little was searched: %d numbers, %d outputs, %d bytes", len(u.numbers), len(out), size)
	}
	for _, n := range u.numbers {
		for form, text := range traces(n) {
			for what, all := range out {
				if at := strings.Index(all.String(), text); at >= 0 {
					t.Errorf("%s: %s, %s: %q", what, n, form, all.String()[max(0, at-60):min(all.Len(), at+60)])
				}
			}
		}
	}
}
