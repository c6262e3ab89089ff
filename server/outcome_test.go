package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

const onePerHour = "limits: [{name: number-hour, by: [number], limit: 1, window: 1h}]"

// allowed returns the check id of a send to a number that ends in last.
func (r *running) allowed(t *testing.T, last string) string {
	t.Helper()
	v, err := r.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: "+65812345" + last, ClientAddress: "203.0.113.7"})
	if err != nil || v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Fatalf("check: %v, %v", v, err)
	}
	return v.CheckId
}

func TestReportOutcome_everyCode(t *testing.T) {
	r := start(t, setup{policy: onePerHour + "\naccounts: {acme: {}, globex: {}}"})
	id := func() string {
		v, err := r.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: "+6581234567", Account: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		return v.CheckId
	}
	allowed, denied := id(), id()
	for _, test := range []struct {
		id, account string
		outcome     sendgatev1.Outcome
		code        codes.Code
		reason      string
	}{
		{"", "acme", sendgatev1.Outcome_OUTCOME_SENT, codes.NotFound, "CHECK_ID_UNKNOWN"},
		{"x", "acme", sendgatev1.Outcome_OUTCOME_SENT, codes.NotFound, "CHECK_ID_UNKNOWN"},
		{allowed[:50] + "AAAA" + allowed[54:], "acme", sendgatev1.Outcome_OUTCOME_SENT, codes.PermissionDenied, "CHECK_ID_FORGED"},
		{allowed, "globex", sendgatev1.Outcome_OUTCOME_SENT, codes.PermissionDenied, "CHECK_ID_OTHER_ACCOUNT"},
		{denied, "acme", sendgatev1.Outcome_OUTCOME_SENT, codes.FailedPrecondition, "CHECK_NOT_ALLOWED"},
		{allowed, "acme", sendgatev1.Outcome_OUTCOME_UNSPECIFIED, codes.InvalidArgument, "OUTCOME_INVALID"},
		{allowed, "acme", 99, codes.InvalidArgument, "OUTCOME_INVALID"},
		{allowed, "acme", sendgatev1.Outcome_OUTCOME_SENT, codes.OK, ""},
		{allowed, "acme", sendgatev1.Outcome_OUTCOME_NOT_SENT, codes.FailedPrecondition, "OUTCOME_CONTRADICTS"},
	} {
		_, err := r.ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: test.id, Account: test.account, Outcome: test.outcome})
		if status.Code(err) != test.code || test.reason != "" && reasonOf(err) != test.reason {
			t.Errorf("%v of %.5q for %s: %v %s, want %v %s", test.outcome, test.id, test.account, status.Code(err), reasonOf(err), test.code, test.reason)
		}
	}
}

func TestReportOutcomeBatch_oneWrongItemFailsNoOther(t *testing.T) {
	r := start(t, setup{policy: onePerHour})
	id := r.allowed(t, "67")
	out, err := r.ReportOutcomeBatch(t.Context(), &sendgatev1.ReportOutcomeBatchRequest{Items: []*sendgatev1.ReportOutcomeRequest{
		{CheckId: id, Outcome: sendgatev1.Outcome_OUTCOME_VERIFIED}, {CheckId: "x", Outcome: sendgatev1.Outcome_OUTCOME_VERIFIED},
		{CheckId: id, Outcome: sendgatev1.Outcome_OUTCOME_VERIFIED},
	}})
	if err != nil || len(out.Items) != 3 || out.Items[0].GetResponse().GetResult() != sendgatev1.OutcomeResult_OUTCOME_RESULT_COUNTED ||
		out.Items[1].GetError().GetReason() != "CHECK_ID_UNKNOWN" || out.Items[2].GetResponse().GetResult() != sendgatev1.OutcomeResult_OUTCOME_RESULT_DUPLICATE {
		t.Fatalf("%v, %v", out, err)
	}
	if _, err := r.ReportOutcomeBatch(t.Context(), &sendgatev1.ReportOutcomeBatchRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty batch: %v", err)
	}
	if got := r.metric(t, `sendgate_outcomes_total{outcome="verified",result="counted"}`); got != "1" {
		t.Errorf("outcomes_total is %q, want 1", got)
	}
}

func TestReportOutcomeStream_answersInOrder(t *testing.T) {
	r := start(t, setup{policy: onePerHour})
	id := r.allowed(t, "67")
	stream, err := r.ReportOutcomeStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range []*sendgatev1.ReportOutcomeStreamRequest{
		{Sequence: 7, Report: &sendgatev1.ReportOutcomeRequest{CheckId: id, Outcome: sendgatev1.Outcome_OUTCOME_NOT_SENT}},
		{Sequence: 8},
		{Sequence: 9, Report: &sendgatev1.ReportOutcomeRequest{CheckId: id, Outcome: sendgatev1.Outcome_OUTCOME_NOT_SENT}},
	} {
		if err := stream.Send(in); err != nil {
			t.Fatal(err)
		}
		out, err := stream.Recv()
		if err != nil || out.Sequence != in.Sequence || (out.Error != nil) != (i == 1) {
			t.Fatalf("%v, %v", out, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	r.allowed(t, "67") // given back
}

func TestOutcomes_overHTTP(t *testing.T) {
	r := start(t, setup{policy: onePerHour})
	a, b := r.allowed(t, "67"), r.allowed(t, "68")
	for _, test := range []struct {
		name, body string
		code       int
		want       string
	}{
		{"one", `{"checkId":"` + a + `","outcome":"OUTCOME_VERIFIED"}`, 200, `{"result":"OUTCOME_RESULT_COUNTED"}`},
		{"a short word", `{"check_id":"` + a + `","outcome":"verified"}`, 200, `{"result":"OUTCOME_RESULT_DUPLICATE"}`},
		{"contradiction", `{"checkId":"` + a + `","outcome":"not_sent"}`, 409, `"reason":"OUTCOME_CONTRADICTS"`},
		{"unknown", `{"checkId":"x","outcome":"sent"}`, 404, `"reason":"CHECK_ID_UNKNOWN"`},
		{"forged", `{"checkId":"` + a[:50] + "AAAA" + a[54:] + `","outcome":"sent"}`, 403, `"reason":"CHECK_ID_FORGED"`},
		{"an array", `[{"checkId":"` + b + `","outcome":"sent"},{"checkId":"x","outcome":"sent"}]`, 200, `{"items":[{"response":{"result":"OUTCOME_RESULT_COUNTED"}},{"error":{"code":5,`},
		{"one a line", `{"checkId":"` + b + `","outcome":"sent"}` + "\n" + `{"checkId":"` + b + `","outcome":"verified"}` + "\n", 200,
			`{"response":{"result":"OUTCOME_RESULT_DUPLICATE"}}` + "\n" + `{"response":{"result":"OUTCOME_RESULT_COUNTED"}}` + "\n"},
		{"no such outcome", `{"checkId":"x","outcome":"arrived"}`, 400, `report 1: a value of the wrong type`},
		{"no such field", `[{"checkId":"x","outcome":"sent"},{"chekId":"x"}]`, 400, `report 2: unknown field`},
		{"no JSON", `+6581234567`, 400, `"reason":"JSON_INVALID"`},
		{"nothing", ``, 400, `"reason":"JSON_INVALID"`},
		{"an empty array", `[]`, 400, `a batch has 1 to 10,000 items`},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := r.post(t, "/v1/outcomes", test.body)
			if body := read(t, res); res.StatusCode != test.code || !strings.Contains(body, test.want) || strings.Contains(body, "81234567") {
				t.Errorf("%d %s, want %d with %s", res.StatusCode, body, test.code, test.want)
			}
		})
	}
	if res := r.do(t, "GET", "/v1/outcomes", ""); res.StatusCode != 405 {
		t.Errorf("GET: %d", res.StatusCode)
	}
}

func TestCheckVerify_everySurface(t *testing.T) {
	r := start(t, setup{policy: onePerHour + "\notp: {verify: {codes: 1}}"})
	web := sendgatev1connect.NewSendGateServiceClient(httpClient(t), r.url)
	ask := map[string]func(id string) (sendgatev1.Verdict, string){
		"grpc": func(id string) (sendgatev1.Verdict, string) {
			v, err := r.CheckVerify(t.Context(), &sendgatev1.CheckVerifyRequest{CheckId: id, ClientAddress: "203.0.113.7"})
			if err != nil {
				t.Fatal(err)
			}
			return v.Verdict, v.Reason
		},
		"connect": func(id string) (sendgatev1.Verdict, string) {
			v, err := web.CheckVerify(t.Context(), &sendgatev1.CheckVerifyRequest{CheckId: id, ClientAddress: "203.0.113.7"})
			if err != nil {
				t.Fatal(err)
			}
			return v.Verdict, v.Reason
		},
		"http": func(id string) (sendgatev1.Verdict, string) {
			res := r.post(t, "/v1/verify", `{"checkId":"`+id+`","clientAddress":"203.0.113.7"}`)
			var v struct{ Verdict, Reason string }
			if err := json.Unmarshal([]byte(read(t, res)), &v); err != nil || (res.StatusCode == 200) != (v.Verdict == "VERDICT_ALLOW") {
				t.Fatalf("%d %+v, %v", res.StatusCode, v, err)
			}
			return sendgatev1.Verdict(sendgatev1.Verdict_value[v.Verdict]), v.Reason
		},
	}
	for i, name := range []string{"grpc", "connect", "http"} {
		id := r.allowed(t, string(rune('1'+i))+"0")
		if v, reason := ask[name](id); v != sendgatev1.Verdict_VERDICT_ALLOW || reason != "" {
			t.Errorf("%s, the first code: %v %s", name, v, reason)
		}
		if v, reason := ask[name](id); v != sendgatev1.Verdict_VERDICT_DENY || reason != "limit:verify-code" {
			t.Errorf("%s, the second: %v %s", name, v, reason)
		}
	}
	if _, err := r.CheckVerify(t.Context(), &sendgatev1.CheckVerifyRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without check_id and number: %v", err)
	}
	if _, err := r.CheckVerify(t.Context(), &sendgatev1.CheckVerifyRequest{CheckId: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("no check_id: %v", err)
	}
}
