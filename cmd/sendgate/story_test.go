package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/rueidis"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// shapes are all in which a number could be found without the secret: written, as an integer, and as a plain hash.
func shapes(e164 string) map[string][]byte {
	digits := strings.TrimPrefix(e164, "+")
	var n uint64
	for _, d := range digits {
		n = 10*n + uint64(d-'0')
	}
	out := map[string][]byte{"digits": []byte(digits[2:]), "big-endian": binary.BigEndian.AppendUint64(nil, n), "little-endian": binary.LittleEndian.AppendUint64(nil, n),
		"base64": []byte(base64.RawStdEncoding.EncodeToString([]byte(digits))[:12])}
	for spelled, text := range map[string]string{"with its sign": e164, "digits only": digits, "national": digits[2:]} {
		b := []byte(text)
		m, s1, s2, s5 := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b), sha512.Sum512(b)
		x := binary.BigEndian.AppendUint64(nil, xxhash.Sum64(b))
		for hash, sum := range map[string][]byte{"md5": m[:], "sha1": s1[:], "sha256": s2[:], "sha512": s5[:], "xxhash": x} {
			out[hash+" "+spelled] = sum[:min(len(sum), 12)]
			out[hash+" hex "+spelled] = []byte(hex.EncodeToString(sum)[:16])
			out[hash+" base64 "+spelled] = []byte(base64.StdEncoding.EncodeToString(sum))[:10]
		}
	}
	return out
}

// finds looks into every file below a directory, and at their names.
func finds(t *testing.T, dir string, wanted map[string][]byte) (found []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for what, b := range wanted {
			if bytes.Contains(content, b) || bytes.Contains([]byte(path), b) {
				found = append(found, what+" in "+filepath.Base(path))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 4 {
		t.Fatalf("%d files in %s", files, dir)
	}
	return found
}

// A person asks for offers, confirms, gets one, leaves, is let alone, comes back, and asks to be forgotten: then nothing of them is
// left, in no file and no key.
func TestStory(t *testing.T) {
	t.Run("files", func(t *testing.T) { story(t, t.TempDir(), 1, nil) })
	t.Run("redis", func(t *testing.T) {
		dir := t.TempDir()
		sockets, err := os.MkdirTemp("", "sg")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(sockets) })
		at, secret := filepath.Join(sockets, "r"), filepath.Join(sockets, "secret")
		b := make([]byte, 32)
		rand.Read(b)
		if err := os.WriteFile(secret, b, 0o600); err != nil {
			t.Fatal(err)
		}
		// At its end it writes all that it has, in clear.
		redis := startRedisAt(t, dir, at, "--save", "3600 1", "--rdbcompression", "no", "--dbfilename", "keys.rdb")
		story(t, dir, 2, func(seal []byte) {
			keys, all := everyKey(t, at), []byte(nil)
			for name, value := range keys {
				all = append(append(append(all, name...), '\n'), value...)
				if bytes.Contains(value, seal) && name != "sg1{consent}changed" { // what was changed is told for some minutes
					t.Errorf("%s has a record of somebody who is forgotten", name)
				}
			}
			if len(keys["sg1{consent}records"]) == 0 {
				t.Error("consent is not on the server: the search shows nothing")
			}
			if err := os.WriteFile(filepath.Join(dir, "keys"), all, 0o600); err != nil {
				t.Fatal(err)
			}
			redis.Process.Signal(syscall.SIGTERM)
			redis.Wait()
			if info, err := os.Stat(filepath.Join(dir, "keys.rdb")); err != nil || info.Size() < 100 {
				t.Errorf("the keys were not written: %v", err)
			}
		}, "--store", "unix://"+at, "--secret-file", secret)
	})
}

// everyKey is what a server has.
func everyKey(t *testing.T, socket string) map[string][]byte {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{socket}, ForceSingleClient: true, DisableCache: true,
		DialCtxFn: func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	do := func(args ...string) rueidis.RedisResult { return c.Do(t.Context(), c.B().Arbitrary(args...).Build()) }
	names, err := do("KEYS", "*").AsStrSlice()
	if err != nil || len(names) < 5 {
		t.Fatalf("%d keys, %v", len(names), err)
	}
	all := map[string][]byte{}
	read := map[string][]string{"string": {"GET"}, "hash": {"HGETALL"}, "zset": {"ZRANGE", "0", "-1"}, "stream": {"XRANGE", "-", "+"}, "list": {"LRANGE", "0", "-1"}, "set": {"SMEMBERS"}}
	for _, name := range names {
		kind, err := do("TYPE", name).ToString()
		if err != nil {
			t.Fatal(err)
		}
		cmd := read[kind]
		if cmd == nil {
			continue // ended meanwhile
		}
		value, err := do(append([]string{cmd[0], name}, cmd[1:]...)...).ToMessage()
		if err != nil && !rueidis.IsRedisNil(err) {
			t.Fatal(err)
		}
		all[name] = flat(&value)
	}
	return all
}

// flat is all that an answer has, one behind the other.
func flat(m *rueidis.RedisMessage) (out []byte) {
	if s, err := m.ToString(); err == nil {
		return []byte(s + "\n")
	}
	if parts, err := m.AsMap(); err == nil {
		for k, v := range parts {
			out = append(append(append(out, k...), '\n'), flat(&v)...)
		}
		return out
	}
	parts, _ := m.ToArray()
	for i := range parts {
		out = append(out, flat(&parts[i])...)
	}
	return out
}

// story tells it to so many sidecars in turn: each has to know what another was told.
func story(t *testing.T, dir string, sidecars int, end func(seal []byte), flags ...string) {
	const ann, bob = "+6581234567", "+6587654321"
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(`version: 1
limits: [{name: number-day, by: [number], limit: 50, window: 1d}]
consent:
  replies: {brand: Acme, support: help@acme.example}
  require: [{purpose: marketing, channel: sms, double_opt_in: true}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	var addrs, datas []string
	var all []*sidecar
	for i := range sidecars {
		addrs, datas = append(addrs, freePort(t)), append(datas, filepath.Join(dir, fmt.Sprint("data", i)))
		all = append(all, serve(t, addrs[i], append([]string{"--http", "off", "--data", datas[i], "--policy", policy, "--region", "eu"}, flags...)...))
	}
	data, s, now := datas[0], all[0], 0
	send := func(number string, purpose sendgatev1.Purpose, key string) *sendgatev1.CheckSendResponse {
		t.Helper()
		v, err := s.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: number, ClientAddress: "203.0.113.7", Account: "acme", Sender: "12345", Purpose: purpose, IdempotencyKey: key})
		if err != nil {
			t.Fatalf("%v\n%s", err, s.stderr)
		}
		return v
	}
	marketing := func(want string) {
		t.Helper()
		for i := range all {
			s = all[i]
			v := send(ann, sendgatev1.Purpose_PURPOSE_MARKETING, "")
			for range 500 { // whoever was told knows at once, the others a little later
				if v.Reason == want || i == now {
					break
				}
				time.Sleep(10 * time.Millisecond)
				v = send(ann, sendgatev1.Purpose_PURPOSE_MARKETING, "")
			}
			if v.Reason != want {
				t.Errorf("marketing at %d (told %d): %v %q, want %q %v\n%s", i, now, v.Verdict, v.Reason, want, v, s.stderr)
			}
		}
		now = (now + 1) % len(all)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd, stderr := command(t, args...)
		cmd.Env = append(cmd.Env, "SENDGATE_ADDR="+addrs[now], "SENDGATE_ADMIN_KEY_FILE="+filepath.Join(datas[now], "admin.key"), "SENDGATE_AUTHOR=carol")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("sendgate %s: %v\n%s", strings.Join(args, " "), err, stderr)
		}
		return string(out)
	}
	hear := func(text, want string) {
		t.Helper()
		if out := run("consent", "hear", ann, text, "--account", "acme", "--sender", "12345", "--reference", "msg-"+text); !strings.Contains(out, want) {
			t.Errorf("%s: %s, want %q", text, out, want)
		}
	}

	marketing("consent:missing")
	if out := run("consent", "agree", ann, "--account", "acme", "--purpose", "marketing", "--source", "web-form", "--text", "I agree to offers by SMS.", "--client-ip", "203.0.113.7"); !strings.Contains(out, "when the person confirms it") {
		t.Error(out)
	}
	marketing("consent:missing")
	hear("YES", "Acme: You are subscribed")
	marketing("")
	hear("Stop!", "Acme: You are unsubscribed")
	marketing("consent:opted_out")
	hear("START", "Acme: You are subscribed")
	marketing("")
	// What else knows a number: a code that was asked for and entered, an idempotency key, a list, an outcome.
	for i, number := range []string{ann, bob, ann, bob}[:2*len(all)] {
		s = all[i/2]
		v := send(number, sendgatev1.Purpose_PURPOSE_OTP, "key of "+number[9:])
		if _, err := s.CheckVerify(t.Context(), &sendgatev1.CheckVerifyRequest{CheckId: v.CheckId, Account: "acme", ClientAddress: "203.0.113.7"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: v.CheckId, Account: "acme", Outcome: sendgatev1.Outcome_OUTCOME_VERIFIED}); err != nil {
			t.Fatal(err)
		}
	}
	run("list", "add", "test", ann, "--reason", "a tester")
	var evidence struct{ Subject string }
	out := run("consent", "history", ann, "--json")
	if err := json.Unmarshal([]byte(out), &evidence); err != nil || strings.Count(out, `"event"`) != 4 || !strings.Contains(out, `"event": "confirmed"`) {
		t.Errorf("the evidence: %v %s", err, out)
	}
	seal, err := base64.RawURLEncoding.DecodeString(evidence.Subject[strings.LastIndex(evidence.Subject, ":")+1:])
	if err != nil || len(seal) != 16 {
		t.Fatalf("subject %q: %v", evidence.Subject, err)
	}

	out = run("privacy", "forget", ann, "--reason", "asked by mail")
	for _, want := range []string{"removed  proof            4", "removed  grant            1", "removed  message          3", "removed  list             1", "stays    audit"} {
		if !strings.Contains(out, want) {
			t.Errorf("forgotten without %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "opt_out") {
		t.Errorf("who came back has an opt-out kept:\n%s", out)
	}
	marketing("consent:missing")
	if out := run("consent", "history", ann, "--json"); strings.Contains(out, "event") {
		t.Errorf("evidence of somebody who is forgotten: %s", out)
	}
	if out := run("consent", "export"); strings.Count(out, "\n") != 1 {
		t.Errorf("the export: %s", out)
	}
	if out := run("privacy", "report"); !strings.Contains(out, "region   eu") || !strings.Contains(out, "consent      proof     0") {
		t.Errorf("the report: %s", out)
	}
	for i, s := range all {
		s.cmd.Process.Signal(syscall.SIGTERM)
		if err := <-s.ended; err != nil {
			t.Fatalf("%v\n%s", err, s.stderr)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("stderr", i)), s.stderr.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if end != nil {
		end(seal)
	}
	if found := finds(t, dir, shapes(ann)); len(found) > 0 {
		t.Errorf("left of somebody who was forgotten: %q", found)
	}
	// What detection keeps of others is sealed. That the search finds what is there:
	if found := finds(t, dir, shapes(bob)); len(found) > 0 {
		t.Errorf("of somebody else, in the clear: %q", found)
	}
	if err := os.WriteFile(filepath.Join(dir, "planted"), []byte("x"+bob[1:]+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := finds(t, dir, shapes(bob)); len(found) == 0 {
		t.Error("a number that was planted is not found: the search shows nothing")
	}
	other := t.TempDir()
	refused, stderr := command(t, append([]string{"serve", "--grpc", freePort(t), "--http", "off", "--data", data, "--region", "us"}, flags...)...)
	if end != nil { // Redis is gone: the directory alone refuses
		refused, stderr = command(t, "serve", "--grpc", freePort(t), "--http", "off", "--data", data, "--region", "us", "--secret-file", flags[3])
	}
	refused.Dir = other
	done := make(chan error, 1)
	if err := refused.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { done <- refused.Wait() }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(stderr.String(), "is of region eu") {
			t.Errorf("a gate of another region: %v\n%s", err, stderr)
		}
	case <-time.After(20 * time.Second):
		refused.Process.Kill()
		t.Error("a gate of another region started on the data")
	}
}
