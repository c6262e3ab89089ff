package server

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever is posted, reading it ends in a request or in an error that repeats no number.
func FuzzReadCheck(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"number":"+6581234567","clientAddress":"203.0.113.7"}`, `{"number":6581234567}`,
		`{"+6581234567":1}`, `{"number":"+6581234567","number":"+6581234567"}`, `{"cost":"1e99"}`, `{"number":"+6581234567`,
		`{"attributes":{"6581234567":6581234567}}`, `{"forwarded":{"xForwardedFor":["1","2"]}}`, "\xff\xfe", `{"purpose":6581234567}`,
		`{"unknown field \"6581234567\"":1}`, `{"idempotencyKey":"\ud800"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		in, failure := readCheck(httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/check", strings.NewReader(body)))
		if (in == nil) == (failure == nil) {
			t.Fatalf("request %v and failure %v", in, failure)
		}
		if failure == nil {
			return
		}
		example := strings.ReplaceAll(failure.message, "+6581234567", "")
		digits := 0
		for _, c := range example {
			if c >= '0' && c <= '9' {
				if digits++; digits >= 7 {
					t.Fatalf("the error repeats a number: %s", failure.message)
				}
			} else {
				digits = 0
			}
		}
	})
}
