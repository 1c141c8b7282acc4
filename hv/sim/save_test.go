package sim_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
)

// bootID is the one that a guest's agent says.
func bootID(ctx context.Context, t *testing.T, vm hv.VM) (string, error) {
	t.Helper()
	hello, err := agent(t, vm).Hello(ctx, &wire.HelloRequest{})
	return hello.GetBootId(), err
}

// lastOf is the exit that a VM says.
func lastOf(vm hv.VM) *hv.Exit {
	var exit *hv.Exit
	for e := range vm.Events() {
		exit = e.Exit
	}
	return exit
}

// A guest that goes on has the rest of its script before it, and no more.
func TestScriptGoesOn(t *testing.T) {
	for script, want := range map[string]struct {
		cause hv.ExitCause
		after time.Duration // the second start
	}{
		"reboot-after=1s; poweroff-after=10s": {hv.ExitPoweredOff, 7 * time.Second},
		"boot=1h; exit-after=3h":              {hv.ExitCrashed, 3*time.Hour - 3*time.Second},
		"save-takes=2s; panic-after=6s":       {hv.ExitPanic, time.Second},
	} {
		s := spec(t, script)
		path := filepath.Join(t.TempDir(), "saved")
		synctest.Test(t, func(t *testing.T) {
			vm, err := sim.New().Start(t.Context(), s, bench(io.Discard))
			if err != nil {
				t.Fatal(err)
			}
			if err := vm.(hv.Rebooter).AllowReboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			after(t, 3*time.Second)
			if err := vm.(hv.Saver).Save(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			if exit := lastOf(vm); exit.Cause != hv.ExitSaved {
				t.Fatalf("%+v", exit)
			}
			s := s
			s.Saved = path
			begun := time.Now()
			if vm, err = sim.New().Start(t.Context(), s, bench(io.Discard)); err != nil {
				t.Fatal(err)
			}
			if exit := lastOf(vm); exit.Cause != want.cause || time.Since(begun) != want.after {
				t.Errorf("%q: %s after %s, want %+v", script, exit.Cause, time.Since(begun), want)
			}
		})
	}
}

// after waits on a fake clock.
func after(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// A save that fails, that nobody waits for any more, or that a kill overtakes leaves no
// file, and the guest as it is.
func TestUnsaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "saved")
	late, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		script string
		ctx    context.Context
		want   string
	}{
		"by its script":  {"save-fails", t.Context(), "as the script says"},
		"nobody waits":   {"save-takes=1h", late, "context canceled"},
		"nobody waited":  {"", late, "context canceled"},
		"no place there": {"", t.Context(), ""},
	} {
		vm, to := start(t, c.script), path
		if c.want == "" {
			to, c.want = filepath.Join(path, "none"), "no such file"
		}
		if err := vm.(hv.Saver).Save(c.ctx, to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := bootID(t.Context(), t, vm); err != nil {
			t.Errorf("%s: its guest: %v", name, err)
		}
	}
	vm := start(t, "save-takes=1h")
	killed := make(chan error, 1)
	go func() { killed <- vm.Kill(context.Background()) }()
	if err := vm.(hv.Saver).Save(t.Context(), path); !errors.Is(err, hv.ErrGone) {
		t.Errorf("a kill: %v", err)
	}
	if err := <-killed; err != nil {
		t.Error(err)
	}
	if exit := lastOf(vm); exit.Cause != hv.ExitKilled {
		t.Errorf("%+v", exit)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A file that is no saved guest of the machine starts nothing, and stays.
func TestNoSavedGuest(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "EOF",
		"{":                                    "unexpected EOF",
		`{}`:                                   "version 0",
		`{"version":1}`:                        `of machine ""`,
		`{"version":1,"machine":"x"}`:          `of machine "x"`,
		`{"version":1,"machine":"m","ran":-1}`: "makes no sense",
		`{"version":1,"machine":"m","agent":{"id":"a"}}`:                         "makes no sense",
		`{"version":1,"machine":"m","agent":{"id":"` + strings.Repeat("a", 5000): "unexpected EOF",
	} {
		s := spec(t, "")
		s.Saved = filepath.Join(t.TempDir(), "saved")
		if err := os.WriteFile(s.Saved, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		vm, err := sim.New().Start(t.Context(), s, bench(io.Discard))
		if err == nil {
			_ = vm.Kill(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if _, err := os.Lstat(s.Saved); err != nil {
			t.Error(err)
		}
	}
}
