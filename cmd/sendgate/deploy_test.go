package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What deploy/ starts is what the binary understands. The chart is looked at by `make chart`, which needs helm.
func TestDeploy_flags(t *testing.T) {
	files, err := filepath.Glob("../../deploy/compose/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		command := regexp.MustCompile(`(?m)^    command: \[(serve,.*)\]$`).FindSubmatch(text)
		if command == nil {
			t.Errorf("%s: no service has a command that serves", file)
			continue
		}
		checkFlags(t, file, 1, strings.ReplaceAll(string(command[1]), ",", ""))
	}
	unit, err := os.ReadFile("../../deploy/systemd/sendgate.service")
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/sendgate (.*)$`).FindSubmatch(unit)
	if start == nil {
		t.Fatal("the unit starts something else")
	}
	checkFlags(t, "sendgate.service", 1, string(start[1]))
}

// systemd itself reads the units, and rates how well they are locked up: 10 is not at all.
func TestDeploy_systemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze: the units are not looked at")
	}
	dir := t.TempDir()
	units, err := filepath.Glob("../../deploy/systemd/sendgate*.s*")
	if err != nil || len(units) != 3 {
		t.Fatal(units, err)
	}
	args := []string{"verify"}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(unit))
		exe, err := os.Executable() // verify wants a program that is there
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/bin/sendgate", exe)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if said, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || strings.Contains(string(said), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, said)
	}
	if said, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", filepath.Join(dir, "sendgate.service")).CombinedOutput(); err != nil {
		t.Errorf("the service is exposed more than 1.5 of 10: %v\n%s", err, said)
	}
}
