package service

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// made makes the units of a config.
func made(t *testing.T, c Config) []File {
	t.Helper()
	files, err := Systemd(c)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// verify has systemd itself read units; what it complains of is returned.
func verify(t *testing.T, manager string, files []File) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"verify", "--" + manager}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "SYSTEMD_LOG_LEVEL=warning")
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatalf("systemd-analyze (package systemd): %v", err)
	}
	var said []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "arcbox") || err != nil { // the host's own units are not ours to judge
			said = append(said, line)
		}
	}
	return strings.Join(said, "")
}

// programs puts programs where a config says that they are.
func programs(t *testing.T, c Config, dir string) Config {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.Engine, c.CLI = filepath.Join(dir, "arcbox-engine"), filepath.Join(dir, "arcbox")
	for _, path := range []string{c.Engine, c.CLI} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestSystemdTakesTheUnits(t *testing.T) {
	if said := verify(t, "system", made(t, programs(t, system(), t.TempDir()))); said != "" {
		t.Errorf("of the host:\n%s", said)
	}
	if said := verify(t, "user", made(t, programs(t, odd(), filepath.Join(t.TempDir(), `a b 50% $HOME`)))); said != "" {
		t.Errorf("of a user, with names that need care:\n%s", said)
	}
}

// The check finds what it is there for.
func TestSystemdFindsFaults(t *testing.T) {
	for from, to := range map[string]string{
		"KillMode=process": "KillMode=proces", "OOMPolicy=": "OOMPolicie=", "ListenStream=/": "ListenStream=",
		"RemainAfterExit=yes": "RemainAfterExit=no", "/arcbox-engine\"": "/no-engine\"", "LockPersonality=yes": "LockPersonality=maybe",
	} {
		files, broken := made(t, programs(t, system(), t.TempDir())), false
		for i, f := range files {
			text := strings.ReplaceAll(string(f.Data), from, to)
			broken = broken || text != string(f.Data)
			files[i].Data = []byte(text)
		}
		if !broken {
			t.Errorf("no unit says %s", from)
		}
		if said := verify(t, "system", files); said == "" {
			t.Errorf("%s in place of %s is not found", to, from)
		}
	}
}
