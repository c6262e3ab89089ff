package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// consoled is a sidecar of two accounts with a console.
func consoled(t *testing.T, access server.ConsoleAccess, change ...func(*server.Options)) (*running, string) {
	t.Helper()
	s, dir := twoAccounts(t)
	board := server.NewBoard(nil)
	s.observers = []gate.Observer{board}
	s.options = func(o *server.Options) {
		o.Identity, o.Board = book(t, o, dir), board
		o.Console = server.ConsoleOptions{Access: access, Hosts: []string{"gate.example"}, Secret: make([]byte, 32)}
		for _, c := range change {
			c(o)
		}
	}
	return start(t, s), dir
}

// browser keeps cookies, and says what a browser says of a request by our own page.
type browser struct {
	*testing.T
	*http.Client
	url, token string
}

func (r *running) browser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Jar: jar}, r.url, ""}
}

func (b *browser) ask(method, path, body string, headers ...string) *http.Response {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == "POST" {
		req.Header.Set("Origin", b.url)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Sendgate-Csrf", b.token)
	}
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			req.Host = headers[i+1]
		case headers[i+1] == "":
			req.Header.Del(headers[i])
		default:
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := b.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { res.Body.Close() })
	return res
}

// session asks who is at the page.
func (b *browser) session(headers ...string) (who struct {
	Known, Login    bool
	Operator, Token string
}) {
	b.Helper()
	if err := json.NewDecoder(b.ask("GET", "/console/session", "", headers...).Body).Decode(&who); err != nil {
		b.Fatal(err)
	}
	return who
}

func (b *browser) login(key string) *http.Response {
	b.Helper()
	res := b.ask("POST", "/console/login", `{"key": "`+key+`"}`)
	b.token = b.session().Token
	return res
}

func TestConsole_login(t *testing.T) {
	var reload func() (bool, error)
	r, dir := consoled(t, server.ConsoleKey, func(o *server.Options) {
		reload = func() (bool, error) { return o.Identity.Load(o.Gate.Policy().Accounts) }
	})
	b := r.browser(t)
	if b.session().Known {
		t.Error("a stranger is known")
	}
	for _, path := range []string{"/console/events", "/console/explain", "/console/release", "/console/logout"} {
		method := "POST"
		if path == "/console/events" {
			method = "GET"
		}
		if res := b.ask(method, path, "{}"); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a stranger gets %s", path, res.Status)
		}
	}
	for _, key := range []string{"", "short", keyA, "sgk_eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"} {
		if res := b.login(key); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) > 0 || b.session().Known {
			t.Errorf("%.6q logs in: %s", key, res.Status)
		}
	}
	res := b.login(keyAdmin)
	who := b.session()
	if res.StatusCode != http.StatusOK || !who.Known || !who.Login || who.Operator != "alice" || len(who.Token) < 20 {
		t.Fatalf("%s, %+v", res.Status, who)
	}
	if c := res.Cookies()[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/console/" || c.MaxAge != 12*60*60 || strings.Contains(c.Value, keyAdmin[4:20]) {
		t.Errorf("cookie %+v", c)
	}

	// The session ends with the logout, also for who kept the cookie; another session goes on, until its key is taken away.
	other := r.browser(t)
	other.login(keyAdmin)
	at, _ := url.Parse(r.url + "/console/")
	kept := b.Jar.Cookies(at)
	if res := b.ask("POST", "/console/logout", "{}"); res.StatusCode != http.StatusOK || b.session().Known {
		t.Errorf("logout: %s", res.Status)
	}
	b.Jar.SetCookies(at, kept)
	if b.session().Known {
		t.Error("a cookie that was kept outlives the logout")
	}
	if !other.session().Known {
		t.Error("one logout ended the other session")
	}
	forged := *other.Jar.Cookies(at)[0]
	forged.Value = strings.ToLower(forged.Value)
	b.Jar.SetCookies(at, []*http.Cookie{&forged})
	if b.session().Known {
		t.Error("a forged cookie is believed")
	}
	write(t, dir, "admin", "bob sgk_fffffffffffffffffffffffffffffffffffffffffff")
	if _, err := reload(); err != nil {
		t.Fatal(err)
	}
	if other.session().Known {
		t.Error("the session outlives its key")
	}
}

// Each line lacks one thing that only our own page has.
func TestConsole_onlyOurOwnPageActs(t *testing.T) {
	r, _ := consoled(t, server.ConsoleKey)
	b := r.browser(t)
	b.login(keyAdmin)
	const body = `{"number": "+6581234567", "clientAddress": "203.0.113.7"}`
	if res := b.ask("POST", "/console/explain", body); res.StatusCode != http.StatusOK {
		t.Fatalf("our own page: %s: %s", res.Status, read(t, res))
	} else if text := read(t, res); strings.Contains(text, "81234567") || !strings.Contains(text, "+65****67") {
		t.Errorf("the answer does not mask the number: %s", text)
	}
	for name, headers := range map[string][]string{
		"no token":                  {"X-Sendgate-Csrf", ""},
		"another token":             {"X-Sendgate-Csrf", strings.Repeat("A", 24)},
		"no origin":                 {"Origin", ""},
		"another origin":            {"Origin", "http://evil.example"},
		"another port":              {"Origin", "http://127.0.0.1:1"},
		"null origin":               {"Origin", "null"},
		"a form":                    {"Content-Type", "text/plain"},
		"another site":              {"Sec-Fetch-Site", "cross-site"},
		"another port of this site": {"Sec-Fetch-Site", "same-site"},
		"a name bent to us":         {"Host", "evil.example", "Origin", "http://evil.example"},
	} {
		if res := b.ask("POST", "/console/explain", body, headers...); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	for name, tt := range map[string]struct {
		path   string
		want   int
		header []string
	}{
		"our name":                   {"/console/session", 200, []string{"Host", "Gate.Example:443"}},
		"an address":                 {"/console/session", 200, []string{"Host", "[::1]:7071"}},
		"localhost":                  {"/console/session", 200, []string{"Host", "localhost"}},
		"a name bent to us":          {"/console/", 403, []string{"Host", "evil.example"}},
		"another site's script":      {"/console/session", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}},
		"another site's image":       {"/console/icon.svg", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}},
		"another site's frame":       {"/console/", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
		"a link of another site":     {"/console/", 200, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		"a browser of before":        {"/console/", 200, []string{"Sec-Fetch-Site", ""}},
		"no such file":               {"/console/console.go", 404, nil},
		"a way around the door":      {"/console/../v1/check", 401, nil},
		"out of the folder, encoded": {"/console/%2e%2e%2fconsole.go", 404, nil},
	} {
		res := b.ask("GET", tt.path, "", tt.header...)
		if res.StatusCode != tt.want {
			t.Errorf("%s: %s, want %d", name, res.Status, tt.want)
		}
		if csp := res.Header.Get("Content-Security-Policy"); strings.HasPrefix(tt.path, "/console/") && !strings.Contains(tt.path, "..") && !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") {
			t.Errorf("%s: the policy for content is %q", name, csp)
		}
	}
}

// Where the console is open to this machine, it is to nobody beyond, whoever stands between.
func TestConsole_loopback(t *testing.T) {
	r, _ := consoled(t, server.ConsoleLoopback)
	b := r.browser(t)
	who := b.session()
	if !who.Known || who.Login {
		t.Fatalf("got %+v", who)
	}
	b.token = who.Token
	if res := b.ask("POST", "/console/explain", `{"number": "+6581234567"}`); res.StatusCode != http.StatusOK {
		t.Errorf("got %s", res.Status)
	}
	for _, headers := range [][]string{
		{"Host", "gate.example"}, {"Host", "192.0.2.1:7071"}, {"X-Forwarded-For", "203.0.113.7"}, {"Forwarded", "for=203.0.113.7"}, {"Via", "1.1 proxy"},
	} {
		if b.session(headers...).Known {
			t.Errorf("%q is on this machine", headers)
		}
	}
}

func TestConsole_off(t *testing.T) {
	r, _ := consoled(t, server.ConsoleOff)
	if res := r.browser(t).ask("GET", "/console/", ""); res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", res.Status)
	}
	if _, err := sendgatev1.NewBoardServiceClient(r.conn).WatchBoard(t.Context(), nil); err != nil {
		t.Errorf("the board is off too: %v", err)
	}
}

// Whoever watches gets all of it at first and then what is new; who comes when too many watch is told so; and none holds up the end.
func TestConsole_events(t *testing.T) {
	r, _ := consoled(t, server.ConsoleKey, func(o *server.Options) { o.Drain = time.Minute })
	b := r.browser(t)
	b.login(keyAdmin)
	res := b.ask("GET", "/console/events", "")
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("%s %s", res.Status, kind)
	}
	events := bufio.NewScanner(res.Body)
	events.Buffer(nil, 1<<20)
	next := func() (m map[string]json.RawMessage) {
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				if strings.Contains(data, "81234567") || strings.Contains(data, "203.0.113.7") {
					t.Errorf("a number or an address is told: %s", data)
				}
				if err := json.Unmarshal([]byte(data), &m); err != nil {
					t.Fatal(err)
				}
				return m
			}
		}
		t.Fatalf("the stream ended: %v", events.Err())
		return nil
	}
	if m := next(); len(m) != 8 {
		t.Errorf("the first message has %d parts, want all 8", len(m))
	}
	if _, err := r.CheckSend(with(t.Context(), keyA), send("+6581234567", "203.0.113.7")); err != nil {
		t.Fatal(err)
	}
	for told := false; !told; {
		m := next()
		if m["rules"] != nil || m["blocks"] != nil {
			t.Fatalf("what did not change is told again: %s", m)
		}
		told = strings.Contains(string(m["seconds"]), `"allowed":1`)
	}
	for i := 1; i < 32; i++ {
		if res := b.ask("GET", "/console/events", ""); res.StatusCode != http.StatusOK {
			t.Fatalf("number %d: %s", i+1, res.Status)
		}
	}
	if res := b.ask("GET", "/console/events", ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("number 33: %s", res.Status)
	}
	watch, err := sendgatev1.NewBoardServiceClient(r.conn).WatchBoard(with(t.Context(), keyAdmin), &sendgatev1.WatchBoardRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more by gRPC: %v", err)
	}
	r.stop() // start's own check fails if it takes as long as the drain
	for events.Scan() {
	}
}

func TestBoardService(t *testing.T) {
	r, _ := consoled(t, server.ConsoleKey)
	boards := sendgatev1.NewBoardServiceClient(r.conn)
	ask := func(key string, past int32) (*sendgatev1.WatchBoardResponse, error) {
		watch, err := boards.WatchBoard(with(t.Context(), key), &sendgatev1.WatchBoardRequest{PastSeconds: past})
		if err != nil {
			return nil, err
		}
		return watch.Recv()
	}
	for key, want := range map[string]codes.Code{"": codes.Unauthenticated, keyA: codes.PermissionDenied, keyAdmin: codes.OK} {
		if _, err := ask(key, 60); status.Code(err) != want {
			t.Errorf("%.8q: %v, want %s", key, err, want)
		}
	}
	for _, past := range []int32{-1, 901} {
		if _, err := ask(keyAdmin, past); status.Code(err) != codes.InvalidArgument {
			t.Errorf("past_seconds %d: %v", past, err)
		}
	}
}
