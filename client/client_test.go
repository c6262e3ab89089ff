package client

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestNew_refuses(t *testing.T) {
	for _, c := range []struct {
		addr string
		o    Options
		want string
	}{
		{"", Options{}, `address "": write host:port or unix:/path`},
		{"127.0.0.1", Options{}, `write host:port`},
		{"127.0.0.1:http", Options{}, `write host:port`},
		{"http://127.0.0.1:7070", Options{}, `write host:port`},
		{"unix:", Options{}, `unix:/path`},
		{"127.0.0.1:1", Options{Timeout: -time.Second}, "Options.Timeout -1s: must be more than 0"},
		{"127.0.0.1:1", Options{Tries: -1}, "Options.Tries -1: must be 1 to 10"},
		{"127.0.0.1:1", Options{Tries: 11}, "Options.Tries 11"},
		{"127.0.0.1:1", Options{FailMode: 2}, "Options.FailMode 2"},
		{"127.0.0.1:1", Options{APIKey: "k\n"}, "is there a newline at its end?"},
		{"gate.internal:7070", Options{APIKey: "k"}, "in clear text: set Options.TLS"},
		{"192.0.2.1:7070", Options{APIKey: "k"}, "in clear text"},
		{"dns:///localhost:7070", Options{APIKey: "k"}, "in clear text"},
	} {
		client, err := New(c.addr, c.o)
		if err == nil {
			client.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.addr, err, c.want)
		}
	}
	for addr, o := range map[string]Options{
		"127.0.0.1:1":        {APIKey: "k"},
		"[::1]:1":            {APIKey: "k"},
		"localhost:1":        {APIKey: "k"},
		"unix:/tmp/none":     {APIKey: "k"},
		"gate.internal:7070": {},
		"192.0.2.1:7070":     {APIKey: "k", ClearText: true},
		"192.0.2.2:7070":     {APIKey: "k", TLS: &tls.Config{}},
	} {
		client, err := New(addr, o)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		client.Close()
	}
}

func TestNumber_masksItself(t *testing.T) {
	s := Send{Number: "+6581234567"}
	v := Verify{Number: "+6581234567"}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%30v", "%T %[1]v"} {
		for _, value := range []any{s.Number, s, &s, []Send{s}, v, map[Number]int{s.Number: 1}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	fmt.Fprintln(&out, s, s.Number)
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "number", s.Number, "send", s, "verify", &v)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "number", s.Number, "send", s)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	for _, clear := range []string{"8123456", "38313233"} {
		if i := strings.Index(out.String(), clear); i >= 0 {
			t.Errorf("%q is told in %q", clear, out.String()[max(0, i-60):min(out.Len(), i+20)])
		}
	}
	if got := fmt.Sprintf("%v %v %v %q", s.Number, Number("12345"), Number(""), s.Number); got != `****67 **** none "****67"` {
		t.Error(got)
	}
}
