package proxies_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// asking is one proxy, its example, an application and a sidecar.
type asking struct {
	t      *testing.T
	url    string
	side   *sidecar
	app    *app
	client *http.Client
}

// proxyExample is what differs from proxy to proxy.
type proxyExample struct {
	name   string // of its folder in examples
	listen string // as the example writes it
	start  func(t *testing.T, dir, config string, ready func() bool)
	config string
	// tcp says that the example asks on 127.0.0.1:7071 and not on the socket.
	tcp bool
	// withBody says that the check sees bodies.
	withBody bool
	path     string
}

// modules is where Debian has those of nginx.
const modules = "/usr/lib/nginx/modules"

func nginx(t *testing.T, dir, config string, ready func() bool) {
	bin := program(t, "nginx")
	if _, err := os.Stat(filepath.Join(dir, "sendgate.js")); err != nil {
		write(t, dir, "sendgate.js", example(t, "examples/njs/sendgate.js"))
	}
	run(t, ready, bin, "-p", dir, "-c", write(t, dir, "nginx.conf", config), "-g", "daemon off;")
}

func proxyExamples() []proxyExample {
	return []proxyExample{
		{name: "nginx", config: "nginx.conf", listen: "127.0.0.1:10080", start: nginx, path: "/login/otp"},
		{name: "njs", config: "nginx.conf", listen: "127.0.0.1:10081", start: nginx, withBody: true, path: "/messages"},
		{name: "caddy", config: "Caddyfile", listen: "127.0.0.1:10082", path: "/login/otp", start: func(t *testing.T, dir, config string, ready func() bool) {
			run(t, ready, program(t, "caddy"), "run", "--adapter", "caddyfile", "--config", write(t, dir, "Caddyfile", config))
		}},
		{name: "haproxy", config: "haproxy.cfg", listen: "127.0.0.1:10083", tcp: true, withBody: true, path: "/messages", start: func(t *testing.T, dir, config string, ready func() bool) {
			bin := program(t, "haproxy")
			write(t, dir, "sendgate.lua", config[strings.Index(config, "--lua--\n"):])
			run(t, ready, bin, "-db", "-f", write(t, dir, "haproxy.cfg", config[:strings.Index(config, "--lua--\n")]))
		}},
	}
}

// startProxy runs an example as it is but for ports and paths, and for what replace edits.
func startProxy(t *testing.T, x proxyExample, replace ...string) *asking {
	t.Helper()
	return startProxyWith(t, x, example(t, "examples/"+x.name+"/policy.yaml"), func(*server.Options) {}, replace...)
}

// startProxyWith does the same with another policy, and a change of the sidecar's options.
func startProxyWith(t *testing.T, x proxyExample, policyYAML string, change func(*server.Options), replace ...string) *asking {
	t.Helper()
	switch x.name { // before anything is started
	case "nginx", "caddy", "haproxy":
		program(t, x.name)
	case "njs":
		program(t, "nginx")
		program(t, modules+"/ngx_http_js_module.so")
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil { // workers of proxies are somebody else
		t.Fatal(err)
	}
	p := &asking{t: t, app: startApp(t), client: plain(t)}
	check := ""
	p.side = startSidecar(t, policyYAML, dir, change, func(o *server.Options) {
		if !x.tcp {
			return
		}
		o.HTTP.Close()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.HTTP, check = l, l.Addr().String()
	})
	p.side.tcp = check
	listen := "127.0.0.1:" + freePort(t)
	p.url = "http://" + listen
	config := example(t, "examples/"+x.name+"/"+x.config, x.listen, listen, "127.0.0.1:8080", p.app.addr)
	if x.name == "haproxy" {
		config = strings.ReplaceAll(config, "/etc/haproxy/sendgate.lua", filepath.Join(dir, "sendgate.lua")) + "--lua--\n" +
			example(t, "examples/haproxy/sendgate.lua", "127.0.0.1:7071", check)
	}
	config = strings.ReplaceAll(config, "/run/sendgate", dir)
	config = strings.ReplaceAll(config, "/etc/nginx/njs", dir)
	config = strings.ReplaceAll(config, "load_module modules/", "load_module "+modules+"/")
	config = edit(t, config, replace...)
	x.start(t, dir, config, func() bool {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

// ask sends a number where the proxy's profile reads it.
func (p *asking) ask(x proxyExample, number string, header ...string) reply {
	p.t.Helper()
	if x.withBody {
		return request(p.t, p.client, "POST", p.url+x.path, `{"destination":"`+number+`"}`, append([]string{"Content-Type", "application/json"}, header...)...)
	}
	return request(p.t, p.client, "POST", p.url+x.path, "code=1", append([]string{"x-phone", number}, header...)...)
}

func TestForwardAuth_allowDenyAndFail(t *testing.T) {
	for _, x := range proxyExamples() {
		t.Run(x.name, func(t *testing.T) {
			p := startProxy(t, x)
			first := p.ask(x, "+6581230001", "X-Sendgate-Check-Id", "forged")
			at, n := p.app.last()
			if id := at.Header.Get("X-Sendgate-Check-Id"); first.status != 200 || n != 1 || id == "" || strings.Contains(id, "forged") || at.Header.Get("X-Sendgate-Verdict") != "allow" {
				t.Errorf("%d, the application saw %v", first.status, at.Header)
			}
			// A client chooses neither the status nor whose request it is.
			got := p.ask(x, "+65 8123 0001", "X-RL-Status", "200", "X-Deny-Status", "200", "X-Original-URI", "/healthz", "X-Forwarded-Uri", "/healthz")
			h := got.header
			if got.status != 429 || h.Get("Retry-After") != "60" && h.Get("Retry-After") != "59" || h.Get("RateLimit-Policy") != `"number-minute";q=1;w=60` ||
				!strings.HasPrefix(h.Get("RateLimit"), `"number-minute";r=0;t=`) || h.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.body, "Too Many Requests") {
				t.Errorf("the second: %d %v %s", got.status, h, got.body)
			}
			if got := p.ask(x, "nobody"); got.status != 400 {
				t.Errorf("no number: %d %s", got.status, got.body)
			}
			for _, path := range []string{"/", x.path + "/", strings.ToUpper(x.path), x.path + ";x=1"} {
				if got := request(t, p.client, "POST", p.url+path, `{"destination":"+6581230009"}`, "Content-Type", "application/json", "x-phone", "+6581230009"); got.status != 404 && got.status != 403 {
					t.Errorf("%s: %d", path, got.status)
				}
			}
			p.side.store.fault.Store(broken)
			if got := p.ask(x, "+6581230002"); got.status != 503 || got.header.Get("Retry-After") != "1" {
				t.Errorf("without its store: %d %v", got.status, got.header)
			}
			p.side.store.fault.Store(hanging)
			if got := p.ask(x, "+6581230003"); got.status != 503 {
				t.Errorf("hanging: %d", got.status)
			}
			p.side.stop()
			if got := p.ask(x, "+6581230004"); got.status != 503 {
				t.Errorf("dead: %d", got.status)
			}
			if _, n := p.app.last(); n != 1 {
				t.Errorf("the application saw %d requests, want 1", n)
			}
		})
	}
}

// The other choice of each example's comment: no answer, and the message goes out.
func TestForwardAuth_failOpen(t *testing.T) {
	for _, x := range proxyExamples() {
		replace := map[string][]string{
			"nginx":   {"return 503 '{\"title\":\"Service Unavailable\",\"status\":503}\\n';", "proxy_pass http://app;"},
			"njs":     {}, // in its script, below
			"caddy":   {"header Retry-After 1\n\t\trespond \"no answer, try again\" 503", "import app"},
			"haproxy": {"{ var(txn.rl_status) -m int 0 } or { var(txn.rl_status) -m int ge 500 }", "{ always_false }", "unless { var(txn.rl_status) -m int 200 }", "unless { var(txn.rl_status) -m int 200 } or { var(txn.rl_status) -m int 0 } or { var(txn.rl_status) -m int ge 500 }"},
		}[x.name]
		if replace == nil {
			continue
		}
		if x.name == "njs" {
			x.start = func(t *testing.T, dir, config string, ready func() bool) {
				write(t, dir, "sendgate.js", example(t, "examples/njs/sendgate.js", `return refuse(r, 503, { 'Retry-After': '1' }, '{"title":"Service Unavailable","status":503}\n');`, "return r.internalRedirect('@app');"))
				nginx(t, dir, config, ready)
			}
		}
		t.Run(x.name, func(t *testing.T) {
			p := startProxy(t, x, replace...)
			p.side.stop()
			if got := p.ask(x, "+6581230001"); got.status != 200 {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}

// By HTTP, Envoy asks with the client's own method and path.
func TestForwardAuth_envoy(t *testing.T) {
	program(t, "envoy")
	dir, behind, client := shortDir(t), startApp(t), plain(t)
	side := startSidecar(t, example(t, "examples/envoy-http/policy.yaml"), dir)
	e := startEnvoy(t, example(t, "examples/envoy-http/envoy.yaml", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+behind.port(),
		"/run/sendgate/http.sock", side.http), dir)
	send := func(path, number string) reply {
		return request(t, client, "POST", e.url+path, `{"destination":"`+number+`"}`, "Content-Type", "application/json", "x-rl-client-ip", "6.6.6.6")
	}
	const path = "/api/v1/subaccounts/acme/messages"
	if got := send(path, "+6581230001"); got.status != 200 || behind.header("X-Sendgate-Check-Id") == "" {
		t.Errorf("%d %v", got.status, behind.seen)
	}
	got := send(path, "+6581230001")
	if h := got.header; got.status != 429 || h.Get("Retry-After") == "" || h.Get("RateLimit") == "" || h.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.body, `"status":429`) {
		t.Errorf("%d %v %s", got.status, h, got.body)
	}
	// What follows the prefix is the client's: it cannot name another check, or a profile.
	for _, evasion := range []string{"/../nginx", "/..%2Fnginx", "//" + path[1:] + "/", path + "?profile=login&deny_status=200", "/x?/../../nginx"} {
		got := send(evasion, "+6581230001")
		if got.status != 403 && got.status != 429 && got.status != 307 {
			t.Errorf("%s: %d", evasion, got.status)
		}
	}
	side.store.fault.Store(broken)
	if got := send(path, "+6581230002"); got.status != 503 {
		t.Errorf("without its store: %d", got.status)
	}
	e.wantStats(ok, 1, erred, 1, open, 0)
}

// A proxy that asks again about the same request pays once: HAProxy's httpclient does so by itself when no answer comes.
func TestForwardAuth_asksAgain(t *testing.T) {
	dir := shortDir(t)
	side := startSidecar(t, example(t, "examples/haproxy/policy.yaml"), dir)
	transport := &http.Transport{DialContext: dialUnix(side.http)}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	var got []int
	for _, id := range []string{"1", "1", "2"} {
		got = append(got, request(t, client, "POST", "http://sendgate/v1/proxy/haproxy", "", "X-Original-Method", "POST", "X-Original-URI", "/login/otp", "x-phone", "+6581230001", "x-request-id", id).status)
	}
	if fmt.Sprint(got) != "[200 200 429]" {
		t.Errorf("%v", got)
	}
}

// The real HAProxy asks again when an answer is late. With a key of its own making the send is charged once, without it each time.
func TestForwardAuth_haproxyAsksAgain(t *testing.T) {
	for _, keyed := range []bool{true, false} {
		x := proxyExamples()[3]
		p := startProxy(t, x)
		src := example(t, "examples/haproxy/policy.yaml", "limit: 1, window: 60s", "limit: 10, window: 60s")
		if !keyed {
			src = edit(t, src, ", idempotency_key: header.x-request-id", "")
		}
		p.side.stop()
		web := p.side.tcp
		p.side = startSidecar(t, src, filepath.Dir(p.side.grpc), func(o *server.Options) {
			o.HTTP.Close()
			l, err := net.Listen("tcp", web)
			if err != nil {
				t.Fatal(err)
			}
			o.HTTP = l
		})
		p.side.store.fault.Store(late)
		p.ask(x, "+6581230001")
		p.side.store.fault.Store(sound)
		v, err := p.side.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: "+6581230001"})
		if err != nil {
			t.Fatal(err)
		}
		if charged := 9 - v.Remaining; keyed != (charged == 1) {
			t.Errorf("with a key %v: charged %d times", keyed, charged)
		}
	}
}
