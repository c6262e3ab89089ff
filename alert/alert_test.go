package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// The example of the Standard Webhooks libraries.
func TestSign_standardWebhooks(t *testing.T) {
	w, err := NewWebhook("https://example.com/hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := w.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if got == w.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265331, 0), []byte(`{"test": 2432232314}`)) {
		t.Error("the time is not signed")
	}
}

func TestNewWebhook_refuses(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for address, secret := range map[string]string{
		"http://example.com/hook":  secret,
		"ftp://127.0.0.1/hook":     secret,
		"https:///hook":            secret,
		"example.com":              secret,
		"https://example.com/a":    "whsec_c2hvcnQ=",
		"https://example.com/b":    "not base64 at all, nor long!",
		"http://127.0.0.1.evil.io": secret,
	} {
		if _, err := NewWebhook(address, secret); err == nil {
			t.Errorf("%s with %q is taken", address, secret)
		} else if strings.Contains(err.Error(), "hook") && strings.Contains(err.Error(), "evil") {
			t.Errorf("the error repeats the address: %v", err)
		}
	}
	for _, address := range []string{"https://example.com/hook", "http://127.0.0.1:9000/", "http://[::1]:9000/", "http://localhost:9000/"} {
		if _, err := NewWebhook(address, secret); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// receiver is a webhook's other end, in memory.
type receiver struct {
	pipes chan net.Conn

	mu      sync.Mutex
	answers []int // to the first tries; 200 after that
	after   string
	got     []received
}

type received struct {
	at              time.Time
	id, stamp, sign string
	body            []byte
}

func (r *receiver) Accept() (net.Conn, error) {
	c, ok := <-r.pipes
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (r *receiver) Close() error   { return nil }
func (r *receiver) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, received{time.Now(), req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp"), req.Header.Get("webhook-signature"), body})
	if len(r.answers) > 0 {
		if r.after != "" {
			w.Header().Set("Retry-After", r.after)
		}
		w.WriteHeader(r.answers[0])
		r.answers = r.answers[1:]
	}
}

// all is what came so far.
func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// desk is a teller whose alerts come from the test.
type desk struct {
	*receiver
	hook   *Webhook
	alerts []detect.Alert
	log    bytes.Buffer
	dead   string
	end    func()
}

// start must be called in a synctest bubble.
func start(t *testing.T, r *receiver) *desk {
	t.Helper()
	d := &desk{receiver: r, dead: filepath.Join(t.TempDir(), "dead.jsonl")}
	var err error
	if d.hook, err = NewWebhook("http://127.0.0.1/hook?token=hidden", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"); err != nil {
		t.Fatal(err)
	}
	r.pipes = make(chan net.Conn)
	d.hook.client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		r.pipes <- theirs
		return ours, nil
	}}
	server := &http.Server{Handler: r}
	go server.Serve(r)
	teller, err := New(Options{Now: time.Now, Log: slog.New(slog.NewTextHandler(&d.log, nil)), Webhook: d.hook, DeadLetter: d.dead,
		Source: func(after uint64) []detect.Alert {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.alerts[min(after, uint64(len(d.alerts))):]
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { teller.Run(ctx); close(done) }()
	d.end = sync.OnceFunc(func() { stop(); <-done; close(r.pipes); server.Close() })
	t.Cleanup(d.end)
	return d
}

func (d *desk) raise(kind detect.Kind, subjects ...detect.Subject) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range subjects {
		d.alerts = append(d.alerts, detect.Alert{Seq: uint64(len(d.alerts)) + 1, At: time.Now().UnixNano(), Signal: detect.Signal{Kind: kind, Subject: s, Sessions: 12, Statistic: 20, Threshold: 13.8}})
	}
}

func pumped(digits uint64) detect.Subject {
	return detect.Subject{Scope: detect.ScopeRange3, Country: detect.CountryOf("UZ"), Digits: digits}
}

func (d *desk) notice(t *testing.T, i int) (n Notice) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.got) <= i {
		t.Fatalf("%d messages, want more than %d", len(d.got), i)
	}
	var m struct {
		Type string
		Data *Notice
	}
	m.Data = &n
	if err := json.Unmarshal(d.got[i].body, &m); err != nil || m.Type != "detection.alert" {
		t.Fatalf("%s: %v", d.got[i].body, err)
	}
	return n
}

func TestTeller_putsTogetherAndKeepsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, &receiver{})
		victim := detect.Subject{Scope: detect.ScopeNumber, Country: detect.CountryOf("SG"), Digits: 6581234567}
		d.raise(detect.AITRange, pumped(998901234), pumped(998901235))
		d.raise(detect.VictimFlood, victim)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := d.notice(t, 0); n.Kind != "ait_range" || n.About != "UZ" || n.Count != 2 || len(n.Subjects) != 2 || n.Subjects[1] != "+998901235***" || n.Again {
			t.Errorf("got %+v", n)
		}
		if n := d.notice(t, 1); n.Kind != "victim_flood" || n.About != "+65****67" {
			t.Errorf("got %+v", n)
		}
		if len(d.all()) != 2 || strings.Contains(d.log.String(), "81234567") || !strings.Contains(d.log.String(), "ait_range") {
			t.Errorf("%d messages; log %s", len(d.all()), &d.log)
		}

		// More of it within the hour is told at its end, once.
		for range 12 {
			d.raise(detect.AITRange, pumped(998901236))
			time.Sleep(time.Minute)
		}
		if len(d.all()) != 2 {
			t.Errorf("%d messages within the silence", len(d.all()))
		}
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if n := d.notice(t, 2); !n.Again || n.Count != 12 || len(n.Subjects) != 10 {
			t.Errorf("got %+v", n)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(d.all()) != 3 {
			t.Errorf("%d messages, want no more than 3", len(d.all()))
		}
		d.raise(detect.AITRange, pumped(998901237))
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := d.notice(t, 3); n.Again || n.Count != 1 {
			t.Errorf("after a long silence: %+v", n)
		}
	})
}

func TestTeller_triesAgainWithTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, &receiver{answers: []int{500, 302, 429}, after: "120"})
		d.raise(detect.AITRange, pumped(998901234))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(d.all()) != 4 {
			t.Fatalf("%d tries, want 4", len(d.all()))
		}
		// 500: 5s, but not before Retry-After; 302 and 429 likewise.
		for i, want := range []time.Duration{120 * time.Second, 120 * time.Second, 120 * time.Second} {
			pause := d.all()[i+1].at.Sub(d.all()[i].at)
			if pause < want*9/10 || pause > want*11/10 {
				t.Errorf("pause %d is %s, want about %s", i+1, pause, want)
			}
			if d.all()[i+1].id != d.all()[0].id {
				t.Error("the id changed")
			}
		}
		for _, g := range d.all() {
			at, err := time.ParseDuration(g.stamp + "s")
			if err != nil || g.sign != d.hook.sign(g.id, time.Unix(int64(at.Seconds()), 0), g.body) {
				t.Errorf("a try is signed wrongly: %+v", g)
			}
		}
		if _, err := os.Stat(d.dead); err == nil {
			t.Error("there is a dead letter, though it was delivered")
		}
	})
}

func TestTeller_givesUpIntoTheDeadLetterFile(t *testing.T) {
	for name, c := range map[string]struct {
		answers []int
		tries   int
		why     string
	}{
		"always 500": {[]int{500, 500, 500, 500, 500, 500, 500, 500}, 7, "the webhook answered 500"},
		"gone":       {[]int{410}, 1, "the webhook answered 410"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := start(t, &receiver{answers: c.answers})
				d.raise(detect.AITRange, pumped(998901234))
				time.Sleep(4 * time.Hour)
				synctest.Wait()
				if len(d.all()) != c.tries {
					t.Errorf("%d tries, want %d", len(d.all()), c.tries)
				}
				for i := 1; i < len(d.all()); i++ {
					if pause := d.all()[i].at.Sub(d.all()[i-1].at); pause < tries[i]*9/10 || pause > tries[i]*11/10 {
						t.Errorf("pause %d is %s, want about %s", i, pause, tries[i])
					}
				}
				line, err := os.ReadFile(d.dead)
				var dead struct {
					Error   string
					Message struct{ Data Notice }
				}
				if err != nil || json.Unmarshal(line, &dead) != nil || dead.Error != c.why || dead.Message.Data.About != "UZ" {
					t.Errorf("dead letter %s, %v", line, err)
				}
				if info, err := os.Stat(d.dead); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v: want a file that only its owner reads", err)
				}
				if strings.Contains(d.log.String(), "token=hidden") {
					t.Error("the log repeats the address of the webhook")
				}
			})
		})
	}
}

func TestTeller_endsWithoutLosingAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, &receiver{answers: []int{500, 200, 500}})
		d.raise(detect.AITRange, pumped(998901234))
		time.Sleep(11 * time.Second) // one try failed, the next comes in five seconds
		synctest.Wait()
		d.raise(detect.VictimFlood, detect.Subject{Scope: detect.ScopeNumber, Digits: 6581234567})
		before := time.Now()
		d.end()
		if took := time.Since(before); took > lastWords+time.Second {
			t.Errorf("it took %s to end", took)
		}
		line, err := os.ReadFile(d.dead)
		if err != nil || !strings.Contains(string(line), "the process ended") {
			t.Errorf("dead letters %s, %v", line, err)
		}
		if len(d.all()) != 2 { // the last alert got its try
			t.Errorf("%d tries, want 2", len(d.all()))
		}
	})
}

func TestNew_refuses(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("nothing is taken for a source")
	}
}
