package redisstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// TestKeys: every key has a time to live, the name says nothing about what is limited, and it is small.
func TestKeys(t *testing.T) {
	r := startServer(t)
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second, Prefix: "app:sg", Database: 3})
	limits := []limiter.Limit{
		{Name: "one", Group: "number", N: 1, Window: time.Minute},
		{Name: "ten", Group: "number", N: 10, Window: 30 * time.Minute},
		{Name: "many", Group: "account", N: 1800, Window: time.Second},
		{Name: "delay", Group: "number", Kind: limiter.Delay, Backoff: limiter.Backoff{Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}},
		{Name: "mark", Group: "number", Kind: limiter.Marker},
	}
	rules := define(t, s, limits...)
	k := s.Key([]byte("+6581234567"))
	var all []limiter.Charge
	for _, r := range rules[:4] {
		all = append(all, limiter.Charge{Rule: r, Key: k, Cost: 1})
	}
	take(t, s, time.Now(), all...)
	for range 9 {
		take(t, s, time.Now(), all[1])
	}
	if err := s.Mark(t.Context(), time.Now(), time.Now().Add(time.Hour), rules[4], k); err != nil {
		t.Fatal(err)
	}
	db := func(args ...string) int64 {
		t.Helper()
		script := append([]string{"EVAL", "redis.call('SELECT', 3) return redis.call(unpack(ARGV))", "0"}, args...)
		n, err := r.do(script...).AsInt64()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return n
	}
	names, err := r.do("EVAL", "redis.call('SELECT', 3) return redis.call('KEYS', '*')", "0").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	rulesSeen, tokens := 0, 0
	for _, name := range names {
		if !strings.HasPrefix(name, "app:sg1{") || strings.Contains(name, "6581") {
			t.Errorf("key %q", name)
		}
		ttl := db("PTTL", name)
		if ttl <= 0 || ttl > 2*time.Hour.Milliseconds() {
			t.Errorf("key %q lives for %d ms", name, ttl)
		}
		if strings.Contains(name, "}~") {
			tokens++
			continue
		}
		rulesSeen++
		t.Logf("%s: %d bytes for %d ms", name, db("MEMORY", "USAGE", name), ttl)
		if b := db("MEMORY", "USAGE", name); b > 256 {
			t.Errorf("key %q takes %d bytes", name, b)
		}
	}
	if rulesSeen != 5 || tokens != 10 {
		t.Errorf("%d keys of rules and %d tokens, want 5 and 10", rulesSeen, tokens)
	}
	if other := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second, Prefix: "app:sg"}); other.Key([]byte("+6581234567")) != k {
		t.Error("two stores hash a key differently")
	}
}

// TestKeys_largest: a rule in buckets that is taken from all the time stays small.
func TestKeys_largest(t *testing.T) {
	r := startServer(t)
	s := open(t, byReadings(r.addr))
	c := limiter.Charge{Rule: define(t, s, limiter.Limit{Name: "money", Group: "g", N: limiter.MaxN, Window: time.Hour})[0], Key: s.Key([]byte("k")), Cost: 1 << 20}
	now := time.Now()
	for range 500 {
		now = now.Add(10 * time.Second)
		take(t, s, now, c)
	}
	names, err := r.do("KEYS", "*").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := r.do("MEMORY", "USAGE", name).AsInt64(); err != nil || b > 1100 {
			t.Errorf("%s: %d bytes, %v", name, b, err)
		} else if !strings.Contains(name, "~") {
			t.Logf("%d bytes", b)
		}
	}
}

// TestPassword: a user with few rights is enough, and its password changes without a restart.
func TestPassword(t *testing.T) {
	r := startServer(t)
	user := func(password string) {
		t.Helper()
		if err := r.do("ACL", "SETUSER", "gate", "reset", "on", ">"+password, "~sg1{*", "+@read", "+@write", "+@scripting", "+@connection", "+time").Error(); err != nil {
			t.Fatal(err)
		}
	}
	user("first")
	file := filepath.Join(t.TempDir(), "password")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second, Username: "gate", Secret: secret(), Password: func() (string, error) {
		b, err := os.ReadFile(file)
		return string(b), err
	}}
	write("wrong")
	if _, err := redisstore.Open(o); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Fatalf("by a wrong password: %v", err)
	}
	write("first")
	s := open(t, o)
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
	take(t, s, time.Now(), c)
	// The same rights do for what sidecars tell each other.
	if _, err := s.Beat(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Map("lists").Put(t.Context(), []string{"f"}, [][]byte{make([]byte, redisstore.StampSize)}); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Map("lists").After(t.Context(), "", 0, func(string, []byte) {}); err != nil {
		t.Error(err)
	}
	if _, err := s.Log("evidence", 10).Exchange(t.Context(), [][]byte{nil}, "0-0", func(string, []byte) {}); err != nil {
		t.Error(err)
	}
	if _, err := s.Log("evidence", 10).End(t.Context()); err != nil {
		t.Error(err)
	}
	if _, _, _, err := s.Replies().Begin(t.Context(), [16]byte{1}, [16]byte{2}); err != nil {
		t.Error(err)
	}
	user("second")
	r.do("CLIENT", "KILL", "USER", "gate")
	eventually(t, "it stops knocking at a closed door", func() bool {
		_, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c})
		return errors.As(err, new(*redisstore.UnavailableError)) && s.Faults().Opened > 0
	})
	write("second")
	eventually(t, "works by the new password", func() bool { _, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c}); return err == nil })
	if peekHeld(t, s, c) < 2 {
		t.Error("the charge is not there")
	}
}

func TestOptions(t *testing.T) {
	good := redisstore.Options{Secret: secret()}
	for what, change := range map[string]func(*redisstore.Options){
		"secret is 3 bytes":     func(o *redisstore.Options) { o.Secret = []byte("abc") },
		`prefix "a{b"`:          func(o *redisstore.Options) { o.Prefix = "a{b" },
		"3 connections":         func(o *redisstore.Options) { o.Connections = 3 },
		"timeout 1h0m0s: write": func(o *redisstore.Options) { o.Timeout = time.Hour },
		"slack -1ns: write":     func(o *redisstore.Options) { o.Slack = -1 },
	} {
		o := good
		change(&o)
		if _, err := redisstore.Open(o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want one that says %q", err, what)
		}
	}
	for url, want := range map[string]string{
		"redis://:hunter2@localhost:6379": "has a password",
		"http://localhost":                "write redis://",
		"redis://localhost/x":             "write redis://",
		"redis://%zz":                     "is no URL",
	} {
		_, err := redisstore.ParseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want one that says %q", url, err, want)
		}
	}
	o, err := redisstore.ParseURL("rediss://gate@db.example:6380/2?addr=db2.example:6380&master_set=sg")
	if err != nil || len(o.Addrs) != 2 || o.Addrs[0] != "db.example:6380" || o.Database != 2 || o.Sentinel != "sg" || o.Username != "gate" || o.TLS == nil {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = redisstore.ParseURL("unix:///run/redis.sock?db=1")
	if err != nil || !o.Unix || o.Addrs[0] != "/run/redis.sock" || o.Database != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestUnix: the same by a socket.
func TestUnix(t *testing.T) {
	r := startServer(t)
	s := open(t, redisstore.Options{Addrs: []string{r.socket()}, Unix: true, Timeout: 5 * time.Second})
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 5}
	if d := take(t, s, time.Now(), c); !d.Allowed {
		t.Errorf("%+v", d)
	}
	if d := take(t, s, time.Now(), c); d.Allowed {
		t.Errorf("%+v", d)
	}
}
