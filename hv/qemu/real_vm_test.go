//go:build vm && linux

package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/hvtest"
)

// testInit is testdata/init, built once.
var testInit = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "arcbox-init")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "init")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
})

func fromEnv(t *testing.T, name string) string {
	t.Helper()
	path := os.Getenv(name)
	if path == "" {
		t.Fatalf("%s is not set: ./task up prepares a kernel and an initramfs with its modules, ./task test names them", name)
	}
	return path
}

// newGuest is a stage with the tests' kernel, and the tests' init laid over
// their initramfs. What init does is test.
func newGuest(t *testing.T, test string) *stage {
	t.Helper()
	s := newStage(t, "")
	s.spec.Kernel, s.spec.QEMU, s.spec.Memory = fromEnv(t, "ARCBOX_TEST_KERNEL"), "", 256<<20
	s.spec.Initrd = filepath.Join(s.spec.Dir, "initrd")
	s.spec.Accel = hv.AccelAuto
	s.spec.Cmdline = "test=" + test
	s.spec.VsockSock = true
	program, err := testInit()
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile(fromEnv(t, "ARCBOX_TEST_INITRD"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(s.spec.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(base, make([]byte, -len(base)&3)...)); err != nil {
		t.Fatal(err)
	}
	w := cpio.NewWriter(f)
	if err := w.WriteHeader(&cpio.Header{Name: "init", Mode: cpio.TypeReg | 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// echo sends text to the guest's echo and reads it back.
func (s *stage) echo(t *testing.T, v hv.VM, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := dialUntil(ctx, v, 1000)
	if err != nil {
		t.Fatalf("dial: %v; console:\n%s", err, s.console)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(c, back); err != nil || string(back) != text {
		t.Fatalf("echo %q, %v", back, err)
	}
}

func TestRealGuestEnds(t *testing.T) {
	for _, c := range []struct {
		test   string
		cause  hv.ExitCause
		detail string
	}{
		{"off", hv.ExitPoweredOff, ""},
		{"reset", hv.ExitCrashed, "before its agent was ready"},
		{"panic", hv.ExitPanic, "not syncing: sysrq triggered crash"},
		{"early-panic", hv.ExitPanic, ": Kernel panic - not syncing: Attempted to kill init!"}, // a kernel with pvpanic in it tells itself
	} {
		t.Run(c.test, func(t *testing.T) {
			s := newGuest(t, c.test)
			v := s.start(t, Options{})
			_, exit := end(t, v)
			if exit.Cause != c.cause || exit.Status != 0 || !strings.Contains(exit.Detail, c.detail) {
				t.Fatalf("exit %+v; console:\n%s", exit, s.console)
			}
			if c.test == "early-panic" {
				return
			}
			if !strings.Contains(s.console.String(), "up, CID 7 <nil>") || !strings.Contains(s.log.String(), "log") {
				t.Fatalf("console:\n%s\nagent log:\n%s", s.console, s.log)
			}
		})
	}
}

func TestRealGuestRebootsAndTalks(t *testing.T) {
	for _, board := range []hv.Board{hv.BoardQ35, hv.BoardMicroVM} {
		t.Run(string(board), func(t *testing.T) { rebootsAndTalks(t, board) })
	}
}

func rebootsAndTalks(t *testing.T, board hv.Board) {
	s := newGuest(t, "echo-reset")
	s.spec.Version, s.spec.Board, s.spec.BoardAccel = hv.SpecVersionBoards, board, hv.AccelTCG
	v := s.start(t, Options{})
	accel, note := v.(hv.Accelerated).Accel()
	t.Logf("accel %s: %s", accel, note)
	s.echo(t, v, "before")
	if err := v.(hv.Rebooter).AllowReboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := dialUntil(ctx, v, 1001) // the guest listens there a moment later
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if e := <-v.Events(); e.Kind != hv.EventRebooted {
		t.Fatalf("event %+v", e)
	}
	// Where the reset cut a dial off before it was answered, the next one made
	// the guest reset once more: only the end of the connection that was
	// answered tells of the last reset.
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection outlived the reset: %v", err)
	}
	s.echo(t, v, "after")
	if err := v.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, exit := end(t, v); exit.Cause != hv.ExitKilled {
		t.Fatalf("exit %+v", exit)
	}
	if n := strings.Count(s.console.String(), "up, CID 7"); n < 2 {
		t.Fatalf("the guest came up %d times; console:\n%s", n, s.console)
	}
}

// TestRealConformance is the suite of all drivers.
func TestRealConformance(t *testing.T) { conform(t, hv.BoardQ35) }

// TestRealMicroVM is the same on the other board, where that can be had.
func TestRealMicroVM(t *testing.T) { conform(t, hv.BoardMicroVM) }

func conform(t *testing.T, board hv.Board) {
	hvtest.Run(t, func(t *testing.T) hvtest.Subject {
		return hvtest.Subject{
			Driver: New(Options{}),
			Spec: func(t *testing.T) hv.Spec {
				s := newGuest(t, "").spec
				s.Version, s.Board, s.BoardAccel = hv.SpecVersionBoards, board, hv.AccelTCG
				return s
			},
			Failing: func(t *testing.T) hv.Spec {
				s := newGuest(t, "").spec
				s.Kernel = s.Initrd
				return s
			},
			Ready: func(ctx context.Context, v hv.VM) error {
				c, err := dialUntil(ctx, v, 1000)
				if err != nil {
					return err
				}
				return c.Close()
			},
			Boot: func(ctx context.Context, v hv.VM) (string, error) {
				s, err := told(ctx, v)
				return strings.Fields(s + " -")[0], err
			},
			Saving: letGo,
			Echo:   1000, Closed: 999, GuestDial: guestDial, Patience: time.Minute,
		}
	})
}

// dialUntil dials until the guest listens.
func dialUntil(ctx context.Context, v hv.VM, port uint32) (net.Conn, error) {
	for {
		c, err := v.Dial(ctx, port)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// guestDial has the guest's relay dial the host.
func guestDial(v hv.VM, port uint32) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := dialUntil(ctx, v, 1002)
	if err != nil {
		return nil, err
	}
	var answer [1]byte
	_, err = c.Write(binary.BigEndian.AppendUint32(nil, port))
	if err == nil {
		_, err = io.ReadFull(c, answer[:])
	}
	if err == nil && answer[0] != 1 {
		err = errors.New("the guest's dial was refused")
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// A guest that prints without end is drained, and its VM obeys.
func TestRealFlood(t *testing.T) {
	s := newGuest(t, "flood")
	v := s.start(t, Options{})
	s.console.await(t, strings.Repeat("flood", 200))
	if err := v.PowerButton(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	end(t, v)
}

func TestRealKernelThatIsNone(t *testing.T) {
	s := newGuest(t, "")
	s.spec.Kernel = s.spec.Initrd
	_, err := New(Options{}).Start(t.Context(), s.spec, s.env)
	if err == nil || !strings.Contains(err.Error(), "QEMU ended at once") {
		t.Fatalf("error %v", err)
	}
	t.Log(err)
}

// The probe's kernel must run where guests run at all: under TCG.
func TestRealProbeKernelRuns(t *testing.T) {
	path, err := lookup("", hv.ArchAMD64)
	if err != nil {
		t.Fatal(err)
	}
	if r := probeWith(t.Context(), forkHere, path, probeGuestOf(hv.ArchAMD64, "tcg"), "tcg", "qemu64"); r.Accel != hv.AccelKVM {
		t.Fatalf("the probe's kernel did not run: %s", r.Note)
	}
	r, err := Probe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", r.Accel, r.Note)
}
