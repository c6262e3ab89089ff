package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// sourced is a server whose policy is in a file, with an operator's key.
func sourced(t *testing.T, file, text string, more func(*server.Options)) (*running, sendgatev1.AdminServiceClient, *lockedBuffer) {
	t.Helper()
	dir, audit := t.TempDir(), new(lockedBuffer)
	write(t, dir, "admin", keyAdmin)
	r := start(t, setup{policy: text, options: func(o *server.Options) {
		o.Identity, o.Audit, o.Source.Policy = book(t, o, dir), audit, file
		if more != nil {
			more(o)
		}
	}})
	return r, sendgatev1.NewAdminServiceClient(r.conn), audit
}

// put replaces a file as most editors do: what is written beside it is renamed over it.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+"~", file); err != nil {
		t.Fatal(err)
	}
}

func oneRule(n int) string {
	return fmt.Sprintf("version: 1\nlimits: [{name: number, by: [number], limit: %d, window: 1h}]\n", n)
}

func versionOf(t *testing.T, text string) string {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p.Version
}

func TestReload_adminCall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	put(t, file, oneRule(1))
	r, admin, audit := sourced(t, file, strings.TrimPrefix(oneRule(1), "version: 1\n"), nil)
	ctx := with(t.Context(), keyAdmin)
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Fatal(v)
	}

	put(t, file, "version: 1\nlimits: [{name: number, by: [number], limit: none, window: 1h}]\n")
	_, err := admin.ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{Reason: "r", Author: "bob"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "limits[0].limit") {
		t.Errorf("a bad file: %v", err)
	}
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Reason != "limit:number" || v.Limit != 1 {
		t.Errorf("the last good policy does not judge: %v", v)
	}

	put(t, file, oneRule(2))
	out, err := admin.ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{DryRun: true})
	if err != nil || !out.Changed || out.Version != versionOf(t, oneRule(2)) || len(out.Changes) != 1 || out.Changes[0] != "limit number is raised from 1 to 2, at once" {
		t.Errorf("%v, %v", out, err)
	}
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Limit != 1 {
		t.Errorf("looking changed the policy: %v", v)
	}
	if _, err := admin.ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without a reason: %v", err)
	}
	if out, err = admin.ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{Reason: "more room", Author: "bob"}); err != nil || !out.Changed || out.PreviousVersion != versionOf(t, oneRule(1)) {
		t.Errorf("%v, %v", out, err)
	}
	if !strings.Contains(audit.String(), `"change":"reload_policy"`) || !strings.Contains(audit.String(), "more room") {
		t.Errorf("the audit says %s", audit)
	}
	for i, want := range []string{"", "limit:number"} { // one of two is held since before
		if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Reason != want || v.Limit != 2 {
			t.Errorf("check %d: %v", i, v)
		}
	}
	if out, err = admin.ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{Reason: "again", Author: "bob"}); err != nil || out.Changed {
		t.Errorf("the same file: %v, %v", out, err)
	}
	st, err := admin.Status(ctx, &sendgatev1.StatusRequest{})
	if p := st.GetPolicy(); err != nil || p.Reloads != 1 || p.Error != "" || p.Version != versionOf(t, oneRule(2)) || p.ReadAt == nil || p.Rules != 1 {
		t.Errorf("%v, %v", st, err)
	}
}

// Each way in which a file gets new content, and a bad file in between.
func TestReload_watchesTheFile(t *testing.T) {
	// A ConfigMap: policy.yaml -> ..data/policy.yaml, ..data -> a folder with the time in its name.
	mount := func(t *testing.T, dir string, version int, text string) {
		t.Helper()
		content := fmt.Sprintf("..%d", version)
		if err := os.Mkdir(filepath.Join(dir, content), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, content), "policy.yaml", text)
		for _, step := range []func() error{
			func() error { return os.Symlink(content, filepath.Join(dir, "..data_tmp")) },
			func() error { return os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := 0
	ways := map[string]func(t *testing.T, dir, text string){
		"rename": func(t *testing.T, dir, text string) { put(t, filepath.Join(dir, "policy.yaml"), text) },
		"in place": func(t *testing.T, dir, text string) {
			if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"ConfigMap": func(t *testing.T, dir, text string) {
			n++
			mount(t, dir, n, text)
			if n == 1 {
				if err := os.Symlink("..data/policy.yaml", filepath.Join(dir, "policy.yaml")); err != nil {
					t.Fatal(err)
				}
			}
		},
		"vanished and back": func(t *testing.T, dir, text string) {
			_ = os.Remove(filepath.Join(dir, "policy.yaml"))
			put(t, filepath.Join(dir, "policy.yaml"), text)
		},
	}
	for name, change := range ways {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			change(t, dir, oneRule(1))
			r, admin, _ := sourced(t, filepath.Join(dir, "policy.yaml"), strings.TrimPrefix(oneRule(1), "version: 1\n"), nil)
			ctx := with(t.Context(), keyAdmin)
			until := func(what string, done func(*sendgatev1.PolicyStatus) bool) {
				t.Helper()
				ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				for {
					st, err := admin.Status(ctx, &sendgatev1.StatusRequest{})
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					if done(st.Policy) {
						return
					}
				}
			}
			change(t, dir, oneRule(5))
			until("a good file", func(p *sendgatev1.PolicyStatus) bool { return p.Version == versionOf(t, oneRule(5)) })
			if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Limit != 5 {
				t.Errorf("%v", v)
			}
			change(t, dir, "version: 1\nlimits: [{name: number, by: [number], limit: 7, window: 60}]\n")
			until("a bad file", func(p *sendgatev1.PolicyStatus) bool { return strings.Contains(p.Error, "limits[0].window") })
			if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Limit != 5 || v.Remaining != 3 {
				t.Errorf("the last good policy does not judge on: %v", v)
			}
			if text := r.get(t, "/metrics"); !strings.Contains(text, "sendgate_policy_last_reload_ok 0") || strings.Contains(text, `sendgate_policy_reloads_total{result="refused"} 0`) {
				t.Error("the metrics do not tell of the refusal")
			}
			if r.get(t, "/readyz") == "" {
				t.Error("not ready, and the last good policy is in force")
			}
			change(t, dir, oneRule(6))
			until("a good file again", func(p *sendgatev1.PolicyStatus) bool { return p.Version == versionOf(t, oneRule(6)) && p.Error == "" })
			if !strings.Contains(r.log.String(), "the policy was refused") {
				t.Error("the log does not tell of the refusal")
			}
		})
	}
}

func (r *running) get(t *testing.T, path string) string {
	t.Helper()
	res, err := http.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", path, res.StatusCode, err)
	}
	return string(body)
}

// A policy with other accounts brings their keys, all or nothing, and what the process cannot follow is refused.
func TestReload_keysAndRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	with2 := func(file string) string {
		return "version: 1\nlimits: [{name: number, by: [number], limit: 9, window: 1h}]\naccounts: {acme: {keys_from_file: [" + file + "]}}\n"
	}
	put(t, file, oneRule(1))
	asked := false
	r, admin, _ := sourced(t, file, strings.TrimPrefix(oneRule(1), "version: 1\n"), func(o *server.Options) {
		o.Source.Refuse = func(p *policy.Policy, now bool) error {
			if asked && !now {
				return fmt.Errorf("callers would not be asked who they are any more")
			}
			asked = now
			return nil
		}
	})
	ctx := with(t.Context(), keyAdmin)
	reload := func() error {
		_, err := admin.ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{Reason: "r", Author: "bob"})
		return err
	}
	put(t, file, with2(filepath.Join(dir, "no-such-keys")))
	if err := reload(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a key file that is not there: %v", err)
	}
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Limit != 1 {
		t.Errorf("half of the policy is in force: %v", v)
	}
	write(t, dir, "keys", keyA)
	put(t, file, with2(filepath.Join(dir, "keys")))
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CheckSend(t.Context(), send("+6581234567", "203.0.113.7")); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a key: %v", err)
	}
	if v, err := r.CheckSend(with(t.Context(), keyA), send("+6581234567", "203.0.113.7")); err != nil || v.Limit != 9 {
		t.Errorf("with the new key: %v, %v", v, err)
	}
	put(t, file, oneRule(3))
	if err := reload(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "it needs a restart") {
		t.Errorf("what cannot be followed: %v", err)
	}
}
