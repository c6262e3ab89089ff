package proxies_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/server"
)

// withKeys adds an account to a policy, and makes the sidecar ask callers for its key.
func withKeys(t *testing.T, policyYAML string) (key, policyWithKey string, change func(*server.Options)) {
	t.Helper()
	key = identity.NewKey()
	policyWithKey = policyYAML + fmt.Sprintf("accounts: {acme: {keys: [%q]}, other: {keys: [%q]}}\n", identity.HashKey(key), identity.HashKey(identity.NewKey()))
	return key, policyWithKey, func(o *server.Options) {
		p, err := policy.Parse("policy.yaml", []byte(policyWithKey))
		if err != nil {
			t.Fatal(err)
		}
		o.Identity = identity.New(identity.Options{Getenv: os.Getenv, ReadFile: os.ReadFile})
		if _, err := o.Identity.Load(p.Accounts); err != nil {
			t.Fatal(err)
		}
	}
}

// Envoy shows the key of an account on its own call. A client cannot show another, nor make up for one that is not there.
func TestExtAuthz_keys(t *testing.T) {
	for name, tt := range map[string]struct {
		metadata func(key string) string
		status   int
	}{
		"the key":     {func(key string) string { return "authorization, value: \"Bearer " + key + "\"" }, 200},
		"no key":      {func(string) string { return "x-none, value: x" }, 503},
		"another key": {func(string) string { return "authorization, value: \"Bearer " + identity.NewKey() + "\"" }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			program(t, "envoy")
			key, policyYAML, change := withKeys(t, example(t, "examples/envoy/policy.yaml"))
			e := &edge{dir: shortDir(t), app: startApp(t), client: plain(t)}
			e.side = startSidecar(t, policyYAML, e.dir, change)
			e.envoy = startEnvoy(t, example(t, "examples/envoy/envoy.yaml", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+e.app.port(),
				"/run/sendgate/grpc.sock", e.side.grpc, "initial_metadata: [", "initial_metadata: [{key: "+tt.metadata(key)+"}, "), e.dir)
			got := e.sms("+6581230001", "Authorization", "Bearer "+key) // the client's own header is nobody's proof
			if got.status != tt.status {
				t.Errorf("%d %s", got.status, got.body)
			}
			if tt.status == 200 {
				e.wantStats(ok, 1, erred, 0)
			} else {
				e.wantStats(ok, 0, erred, 1, open, 0)
			}
		})
	}
}

// So do the proxies that ask by HTTP, with one line of their configuration.
func TestForwardAuth_keys(t *testing.T) {
	for _, x := range proxyExamples() {
		line := map[string][2]string{
			"nginx": {"proxy_set_header X-RL-Client-IP", "proxy_set_header Authorization \"Bearer KEY\";\n proxy_set_header X-RL-Client-IP"},
			"caddy": {"header_up X-RL-Client-IP", "header_up Authorization \"Bearer KEY\"\n\t\t\theader_up X-RL-Client-IP"},
		}[x.name]
		if line[0] == "" {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			key, policyYAML, change := withKeys(t, example(t, "examples/"+x.name+"/policy.yaml"))
			for _, with := range []bool{true, false} {
				replace := []string{line[0], strings.ReplaceAll(line[1], "KEY", key)}
				if !with {
					replace = nil
				}
				p := startProxyWith(t, x, policyYAML, change, replace...)
				got := p.ask(x, "+6581230001", "Authorization", "Bearer "+identity.NewKey())
				if passed := got.status == 200; passed != with {
					t.Errorf("with the key %v: %d %s", with, got.status, got.body)
				}
			}
		})
	}
}
