//go:build vm || e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bed is one engine with a home of its own.
type bed struct {
	t    *testing.T
	home string
}

// newBed makes a home, and ends everything in it when the test is over.
func newBed(t *testing.T) *bed {
	t.Helper()
	if os.Getenv("ARCBOX_BIN") == "" {
		t.Fatal("ARCBOX_BIN names no directory of binaries: run ./task test")
	}
	home, err := os.MkdirTemp("", "abx")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t, home}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(home, "log", "engine.log"))
			t.Logf("engine's log:\n%s", log)
		}
		b.run("engine", "start") // it may have been killed; its machines are adopted, and stopped
		b.run("engine", "stop", "--machines", "--timeout", "5s")
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return b
}

// result is what a command did.
type result struct {
	out, err string
	code     int
}

// run types a command. It is bounded in time.
func (b *bed) run(args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("ARCBOX_BIN"), "arcbox"), args...)
	cmd.Env = append(os.Environ(), "ARCBOX_HOME="+b.home)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	r := result{out: out.String(), err: errOut.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else if err != nil {
		b.t.Fatalf("arcbox %v: %v", args, err)
	}
	b.t.Logf("arcbox %s: %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	return r
}

// ok is run for commands that must succeed; it gives what they printed.
func (b *bed) ok(args ...string) string {
	b.t.Helper()
	r := b.run(args...)
	if r.code != 0 {
		b.t.Fatalf("arcbox %v: exit %d: %s", args, r.code, r.err)
	}
	return strings.TrimSpace(r.out)
}

// into reads a command's JSON.
func (b *bed) into(v any, args ...string) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(b.ok(append(args, "--format", "json")...)), v); err != nil {
		b.t.Fatalf("arcbox %v: %v", args, err)
	}
}

// killEngine ends the engine as a power cut would.
func (b *bed) killEngine() {
	b.t.Helper()
	var status struct {
		PID int `json:"pid"`
	}
	b.into(&status, "engine", "status")
	if status.PID < 2 {
		b.t.Fatalf("engine status shows pid %d", status.PID)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
}

// record is one line of the journal.
type record struct {
	Seq       uint64         `json:"seq"`
	Kind      string         `json:"kind"`
	Principal string         `json:"principal"`
	Fact      map[string]any `json:"fact"`
}

func (b *bed) journal(machine string) []record {
	b.t.Helper()
	var out []record
	b.into(&out, "journal", "--machine", machine)
	return out
}

func kinds(rs []record) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.Kind)
	}
	return out
}
