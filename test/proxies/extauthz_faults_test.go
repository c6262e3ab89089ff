package proxies_test

import (
	"fmt"
	"strings"
	"testing"
)

// What Envoy makes of a sidecar that does not answer. Every row is read from Envoy's statistics too: failing open looks like yes.
func TestExtAuthz_faults(t *testing.T) {
	for _, fault := range []struct {
		name   string
		make   func(*edge)
		status int // when Envoy fails closed
	}{
		{"dead", func(e *edge) { e.side.stop() }, 503},
		{"slow", func(e *edge) { e.side.store.fault.Store(hanging) }, 503},
		{"store down", func(e *edge) { e.side.store.fault.Store(broken) }, 503},
	} {
		for _, isOpen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, failure_mode_allow %v", fault.name, isOpen), func(t *testing.T) {
				e := startEdge(t, "failure_mode_allow: false", fmt.Sprintf("failure_mode_allow: %v", isOpen))
				if got := e.sms("+6581230001"); got.status != 200 {
					t.Fatalf("before: %d", got.status)
				}
				fault.make(e)
				got := e.sms("+6581230001") // would be denied
				want, passed, closedness := fault.status, 1, 0
				if isOpen {
					want, passed, closedness = 200, 2, 1
				}
				at, n := e.app.last()
				if got.status != want || n != passed {
					t.Errorf("%d, want %d; the application saw %d requests, want %d", got.status, want, n, passed)
				}
				if mark := at.Header.Get("x-envoy-auth-failure-mode-allowed"); isOpen && mark != "true" {
					t.Errorf("the application is not told that nobody asked: %v", at.Header)
				}
				if h := got.header; fault.name == "store down" && !isOpen && (h.Get("Retry-After") != "1" || h.Get("Content-Type") != "application/problem+json") {
					t.Errorf("error_response: %v %s", h, got.body)
				}
				e.wantStats(ok, 1, denied, 0, erred, 1, open, closedness)
				if why := e.logged(2)["why"]; !isOpen && why != "ext_authz_error" {
					t.Errorf("Envoy logs %v", why)
				}
			})
		}
	}
}

// A sidecar that comes back is asked again without anybody restarting Envoy.
func TestExtAuthz_recovers(t *testing.T) {
	e := startEdge(t)
	e.side.stop()
	if got := e.sms("+6581230001"); got.status != 503 {
		t.Errorf("%d while it is away", got.status)
	}
	e.side = startSidecar(t, example(t, "examples/envoy/policy.yaml"), e.dir)
	await(t, func() bool { return e.sms("+6581230002").status != 503 }, "Envoy to find the sidecar again")
	if got := e.sms("+6581230002"); got.status != 429 {
		t.Errorf("%d, want the denial of the second", got.status)
	}
}

// The policy here says fail closed by rule; what a rule lets pass when the store is down is no error to Envoy.
func TestExtAuthz_failOpenOfARule(t *testing.T) {
	e := startEdge(t)
	e.side.stop()
	e.side = startSidecar(t, example(t, "examples/envoy/policy.yaml", "fail_mode: {default: closed}", "fail_mode: {default: open}"), e.dir)
	await(t, func() bool { return e.sms("+6581230001").status == 200 }, "the sidecar")
	before := e.stat(erred)
	e.side.store.fault.Store(broken)
	if got := e.sms("+6581230001"); got.status != 200 {
		t.Errorf("%d", got.status)
	}
	e.wantStats(ok, 2, erred, before, open, 0)
}

func TestExtAuthz_shadowMode(t *testing.T) {
	e := startEdge(t, "shadow_mode: false", "shadow_mode: true")
	for range 2 {
		if got := e.sms("+6581230001"); got.status != 200 || got.header.Get("Retry-After") != "" {
			t.Errorf("%d %v", got.status, got.header)
		}
	}
	shadow := fmt.Sprint(e.logged(2)["shadow"])
	if !strings.Contains(shadow, `"check_result":"DENIED","status_code":429`) {
		t.Errorf("Envoy logs %v", e.logged(2))
	}
}

// The switch of the example's filter_enabled: off and on again, without a restart.
func TestExtAuthz_killSwitch(t *testing.T) {
	e := startEdge(t)
	var got []int
	for _, percent := range []string{"100", "0", "100"} {
		if _, err := e.ask("POST", "/runtime_modify?sendgate.enabled="+percent); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.sms("+6581230001").status)
	}
	if fmt.Sprint(got) != "[200 200 429]" {
		t.Errorf("%v", got)
	}
	e.wantStats(ok, 1, denied, 1)
}
