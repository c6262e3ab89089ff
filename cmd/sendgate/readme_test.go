package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sendgate/sendgate/policy"
)

// block is a fenced block of a page.
type block struct {
	language string
	text     string
	line     int
	notRun   string // why not, from a comment before it: <!-- not run: it needs a cluster -->
}

var notRun = regexp.MustCompile(`^<!-- not run: (.+) -->$`)

// blocks are the fenced blocks of a page, in order.
func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var in *block
	why := ""
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case in == nil && strings.HasPrefix(trimmed, "```"):
			in = &block{language: strings.TrimPrefix(trimmed, "```"), line: i + 2, notRun: why}
		case in != nil && trimmed == "```":
			all = append(all, *in)
			in, why = nil, ""
		case in != nil:
			in.text += line + "\n"
		case notRun.MatchString(trimmed):
			why = notRun.FindStringSubmatch(trimmed)[1]
		case trimmed != "":
			why = ""
		}
	}
	return all
}

// programs are what a line of a block begins with for the block to be commands.
var programs = regexp.MustCompile(`(?m)^\s*(\$ )?(bin/)?(sendgate|curl|grpcurl|make|sudo|helm|kubectl|docker|podman|sha256sum|go|head) `)

// commands are the lines that a reader would type. In a block with prompts that is what follows them, the rest is output.
func (b block) commands() string {
	prompts := regexp.MustCompile(`(?m)^\$ (.*(?:\\\n.*)*)$`).FindAllStringSubmatch(b.text, -1)
	if prompts != nil {
		var lines []string
		for _, p := range prompts {
			lines = append(lines, p[1])
		}
		return strings.Join(lines, "\n") + "\n"
	}
	if b.language == "sh" || b.language == "bash" || b.language == "" && programs.MatchString(b.text) {
		return b.text
	}
	return ""
}

// ours finds the calls of sendgate and make in a script, one a match.
var (
	ours     = regexp.MustCompile(`(?m)(?:^|[;&|(]\s*|\$ )\s*(?:bin/)?sendgate ((?:[^\n;&|>#\\']|'[^'\n]*'|\\\n)*)`)
	indented = regexp.MustCompile(`(?m)^    (?:\$ )?(?:bin/)?sendgate ([^\n;&|>#\[\\]*)`)
	makings  = regexp.MustCompile(`(?m)^\s*(?:\$ )?make ([a-z-]+)`)
)

// TestDocs runs what the pages say: each command, and each policy. A block that cannot be run here says why in a comment before it;
// its flags are checked all the same. A page's blocks run one after the other in a folder of its own, beside a sidecar.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%v: %d pages", err, len(pages))
	}
	targets, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md", "../../deploy/helm/sendgate/README.md") {
		t.Run(filepath.Base(page), func(t *testing.T) {
			var script strings.Builder
			tests := "tests: [{name: the first send passes, steps: [{send: {number: +6591234567, client: 203.0.113.7}}]}]\n"
			for _, b := range blocks(t, page) {
				switch b.language {
				case "yaml":
					switch {
					case b.notRun != "":
					case strings.HasPrefix(b.text, "tests:"):
						tests = b.text
					default:
						checkPolicy(t, page, b)
					}
				case "json":
					if b.notRun == "" && !json.Valid([]byte(b.text)) {
						t.Errorf("%s:%d: this is not JSON", page, b.line)
					}
				}
				commands := b.commands()
				for _, call := range ours.FindAllStringSubmatch(commands, -1) {
					checkFlags(t, page, b.line, call[1])
				}
				for _, call := range makings.FindAllStringSubmatch(commands, -1) {
					if !strings.Contains(string(targets), "\n"+call[1]+":") && !strings.HasPrefix(call[1], "install-") {
						t.Errorf("%s:%d: there is no make %s", page, b.line, call[1])
					}
				}
				if commands != "" && b.notRun == "" {
					script.WriteString(runnable(commands))
				}
			}
			// Commands that are set in by four spaces are not run; they are read.
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range indented.FindAllStringSubmatch(string(text), -1) {
				checkFlags(t, page, 1, call[1])
			}
			if strings.TrimSpace(script.String()) != "" {
				runPage(t, page, script.String(), tests)
			}
		})
	}
}

// checkPolicy parses a policy, or a part of one.
func checkPolicy(t *testing.T, page string, b block) {
	text := regexp.MustCompile(`sha256:[0-9a-f]+\.\.\.`).ReplaceAllString(b.text, "sha256:"+strings.Repeat("0", 64)) // cut short on the page
	if !strings.Contains(text, "version:") {
		text = "version: 1\n" + text
	}
	for _, env := range regexp.MustCompile(`keys_from_env: \[(\w+)\]`).FindAllStringSubmatch(text, -1) {
		t.Setenv(env[1], "sgk_a-key-of-a-page")
	}
	if _, err := policy.Parse(page, []byte(text)); err != nil {
		t.Errorf("%s:%d: this is not a policy, or a part of one (else write <!-- not run: why --> before it): %v", page, b.line, err)
	}
}

// checkFlags reads a call of sendgate as the command does, and runs nothing.
func checkFlags(t *testing.T, page string, line int, call string) {
	var c cli
	parser, err := kong.New(&c, kong.Name("sendgate"), kong.Exit(func(int) {}), kong.Writers(new(bytes.Buffer), new(bytes.Buffer)))
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, word := range regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(strings.ReplaceAll(call, "\\\n", " "), -1) {
		args = append(args, strings.Trim(word, `'"`))
	}
	if slices.ContainsFunc(args, func(a string) bool { return a == "..." || a == "…" }) {
		return // an outline
	}
	if _, err := parser.Parse(args); err != nil && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%s:%d: sendgate %s: %v", page, line, strings.TrimSpace(call), err)
	}
}

// runnable leaves out what the page's own sidecar stands for, and the targets of make, which are known to be there.
func runnable(commands string) string {
	var kept []string
	for _, line := range strings.Split(strings.ReplaceAll(commands, "\\\n", " "), "\n") {
		word := strings.TrimPrefix(strings.TrimSpace(line), "bin/")
		if strings.HasPrefix(word, "make") || strings.HasPrefix(word, "sendgate serve") || strings.HasPrefix(word, "sendgate demo") || strings.HasPrefix(word, "go test") {
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n") + "\n"
}

// pagePolicy is the policy.yaml of every page.
const pagePolicy = `version: 1
limits: [{name: number-30m, by: [number], limit: 10, window: 30m}]
delays: {otp: {by: [number], free: 2, base: 60s, factor: 2, max: 32m, forget_after: 24h, jitter: 10%}}
`

// runPage runs a page's commands beside a sidecar. Addresses on the page are the defaults: here they are free ports.
func runPage(t *testing.T, page, script, tests string) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"path", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
		wrapper := "#!/bin/sh\n" + asCommand + "=1 exec " + exe + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(dir, path, "sendgate"), []byte(wrapper), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	grpc, http := freePort(t), freePort(t)
	side := serve(t, grpc, "--http", http, "--data", filepath.Join(dir, "data"))
	admin, err := os.ReadFile(filepath.Join(dir, "data", "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Fields(string(admin))
	checked := side.check(t, "+6590001234")

	// What the pages' names stand for.
	files := map[string][]byte{"my.yaml": policy.DefaultYAML(), "policy.yaml": []byte(pagePolicy), "policy_test.yaml": []byte(tests)}
	log := []byte(`{"t":"2026-03-02T08:00:00Z","type":"send","id":"1","msisdn":"+6581234567","ip":"203.0.113.7","account":"acme","purpose":"otp"}` + "\n")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(log)
	z.Close()
	files["LOG.jsonl"], files["log.jsonl"] = log, log
	files["LOG.jsonl.gz"], files["log.jsonl.gz"] = zipped.Bytes(), zipped.Bytes()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script = strings.NewReplacer("127.0.0.1:7070", grpc, "127.0.0.1:7071", http, "CHECK_ID", checked.CheckId).Replace(script)

	tools, err := filepath.Abs("../../.tools/bin")
	if err != nil {
		t.Fatal(err)
	}
	// Every command that fails is told, with the exception of verdicts: 3 and 4 are answers.
	const watch = `trap 'code=$?; case "$code $BASH_COMMAND" in [34]\ *"sendgate check"*) ;; *) echo "exit code $code: $BASH_COMMAND" >&9 ;; esac' ERR` + "\n" +
		`command -v grpcurl >/dev/null || grpcurl() { :; }` + "\n"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a bound, not an expectation: what waits for ever is named
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-u", "-c", watch+script)
	cmd.WaitDelay = time.Second
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "path")+":"+os.Getenv("PATH")+":"+tools, "SENDGATE_ADDR="+grpc, "SENDGATE_ADMIN_KEY="+key[len(key)-1], "no_proxy=*")
	failures, err := os.Create(filepath.Join(dir, "failures")) // a pipe would wait for what a page leaves running
	if err != nil {
		t.Fatal(err)
	}
	defer failures.Close()
	for range 7 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, failures) // the last is 9
	}
	said, err := cmd.CombinedOutput()
	failed, _ := os.ReadFile(failures.Name())
	if len(failed) > 0 || ctx.Err() != nil {
		t.Errorf("%s: %v\n%s\n--- the script\n%s--- what it said\n%s", page, err, failed, script, said)
	}
}

// TestDocs_links follows every link between files, and finds every page in the index.
func TestDocs_links(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s: a link to %s, which is not there", page, l[1])
			}
		}
	}
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}
