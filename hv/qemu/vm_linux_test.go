package qemu

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/console"
)

// heard is a writer that may be read while it is written.
type heard struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // has one when there is something new
}

func newHeard() *heard { return &heard{more: make(chan struct{}, 1)} }

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case h.more <- struct{}{}:
	default:
	}
	return h.buf.Write(p)
}

// await waits until text was written. It has one caller at a time.
func (h *heard) await(t *testing.T, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !strings.Contains(h.String(), text) {
		select {
		case <-h.more:
		case <-late:
			t.Fatalf("no %q in %q", text, h)
		}
	}
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.String()
}

// stage is a place for one fake VM.
type stage struct {
	spec         hv.Spec
	env          hv.Env
	console, log *heard
}

func newStage(t *testing.T, script string) *stage {
	t.Helper()
	dir := t.TempDir()
	kernel := filepath.Join(dir, "kernel")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	s := &stage{console: newHeard(), log: newHeard()}
	s.spec = hv.Spec{
		Version: hv.SpecVersion, Machine: "m", Name: "test", Launch: "l", CID: 7,
		Backend: hv.BackendQEMU, Accel: hv.AccelTCG, CPUs: 1, Memory: 64 << 20,
		Kernel: kernel, Cmdline: "fake=" + script, Dir: dir, RunDir: dir, QEMU: self,
	}
	s.env = hv.Env{Lock: lock, Fork: os.StartProcess, Console: s.console, AgentLog: s.log, Logf: t.Logf}
	return s
}

func (s *stage) start(t *testing.T, o Options) hv.VM {
	t.Helper()
	v, err := New(o).Start(t.Context(), s.spec, s.env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Kill(context.Background()) })
	return v
}

// end collects events up to the exit, and checks that nothing follows.
func end(t *testing.T, v hv.VM) ([]hv.EventKind, hv.Exit) {
	t.Helper()
	var kinds []hv.EventKind
	var exit *hv.Exit
	late := time.After(30 * time.Second)
	for {
		select {
		case e, ok := <-v.Events():
			switch {
			case !ok && exit == nil:
				t.Fatal("no exit before the end of the events")
			case !ok:
				return kinds, *exit
			case exit != nil:
				t.Fatalf("%+v after the exit", e)
			case e.Kind == hv.EventExit:
				exit = e.Exit
			default:
				kinds = append(kinds, e.Kind)
			}
		case <-late:
			t.Fatal("the VM does not end")
		}
	}
}

func TestHowAVMEnds(t *testing.T) {
	for _, c := range []struct {
		script string
		events []hv.EventKind
		cause  hv.ExitCause
		status int
		detail string
	}{
		{"off", nil, hv.ExitPoweredOff, 0, "the guest powered off"},
		{"reset", nil, hv.ExitCrashed, 0, "the guest reset before its agent was ready"},
		{"early-panic", nil, hv.ExitPanic, 0, "not syncing: No working init found."},
		{"panic", []hv.EventKind{hv.EventPanicked}, hv.ExitPanic, 0, "not syncing: ?[31mbad"},
		{"signal", nil, hv.ExitCrashed, 0, "by a signal from outside"},
		{"crash", nil, hv.ExitCrashed, 3, "exit status 3; its last words: qemu: internal error"},
		{"shot", nil, hv.ExitCrashed, -1, "QEMU ended: signal: killed"},
		{"pause", []hv.EventKind{hv.EventPaused, hv.EventResumed}, hv.ExitPoweredOff, 0, ""},
		{"gibberish", nil, hv.ExitCrashed, -1, "so it was killed"},
		{"endless-line", nil, hv.ExitCrashed, -1, "line of more than"},
	} {
		t.Run(c.script, func(t *testing.T) {
			v := newStage(t, c.script).start(t, Options{CallTimeout: 200 * time.Millisecond})
			kinds, exit := end(t, v)
			if len(kinds) != len(c.events) {
				t.Fatalf("events %v, want %v", kinds, c.events)
			}
			for i := range kinds {
				if kinds[i] != c.events[i] {
					t.Fatalf("events %v, want %v", kinds, c.events)
				}
			}
			if exit.Cause != c.cause || exit.Status != c.status || !strings.Contains(exit.Detail, c.detail) {
				t.Fatalf("exit %+v, want cause %s, status %d, detail with %q", exit, c.cause, c.status, c.detail)
			}
		})
	}
}

// A guest that waits for the host's disk goes on by itself, unless it is held still.
func TestRoom(t *testing.T) {
	o := Options{RoomEvery: time.Millisecond}
	kinds, exit := end(t, newStage(t, "full").start(t, o))
	want := []hv.EventKind{hv.EventPaused, hv.EventResumed}
	if !slices.Equal(kinds, want) || exit.Cause != hv.ExitPoweredOff {
		t.Errorf("with room: %v, %+v", kinds, exit)
	}
	v := newStage(t, "full-held").start(t, o)
	if err := v.(hv.Pauser).Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range presses {
		if err := v.PowerButton(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.(hv.Pauser).Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if kinds, exit = end(t, v); !slices.Equal(kinds, want) || exit.Cause != hv.ExitPoweredOff {
		t.Errorf("held still: %v, %+v", kinds, exit)
	}
	file := hv.Disk{Path: filepath.Join(t.TempDir(), "disk")}
	gone, device := file, file
	gone.Path, device.Device = "/proc/1/none/disk", true
	for _, c := range []struct {
		disks []hv.Disk
		want  bool
	}{
		{nil, true}, {[]hv.Disk{file}, true}, {[]hv.Disk{file, gone}, false}, {[]hv.Disk{device}, false},
		{[]hv.Disk{{Path: "/dev/none", Device: true, ReadOnly: true}, file}, true},
	} {
		if got := hasRoom(c.disks); got != c.want {
			t.Errorf("%+v: room %v", c.disks, got)
		}
	}
}

func TestStartThatFails(t *testing.T) {
	for _, c := range []struct{ script, says string }{
		{"dies", "exit status 1: qemu: no machine of this kind"},
		{"dies-silent", "exit status 7, and said nothing"},
		{"mute", "await QMP greeting: context deadline exceeded"},
		{"refuses", "not today"},
	} {
		t.Run(c.script, func(t *testing.T) {
			s := newStage(t, c.script)
			timeout := 30 * time.Second
			if c.script == "mute" {
				timeout = 300 * time.Millisecond
			}
			_, err := New(Options{StartTimeout: timeout}).Start(t.Context(), s.spec, s.env)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want one with %q", err, c.says)
			}
			if !lockIsFree(t, s.env.Lock) {
				t.Fatal("something still holds the lock")
			}
		})
	}
}

// lockIsFree takes the lock as the engine does: through a file opened anew.
func lockIsFree(t *testing.T, held *os.File) bool {
	t.Helper()
	f, err := os.Open(held.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

func TestQEMUHoldsTheLockUntilItIsDead(t *testing.T) {
	s := newStage(t, "hang")
	if err := unix.Flock(int(s.env.Lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	v := s.start(t, Options{})
	name := s.env.Lock.Name()
	_ = s.env.Lock.Close() // as if the VM host had died
	probe, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = probe.Close() }()
	if unix.Flock(int(probe.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		t.Fatal("the lock is free while QEMU lives")
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(probe.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("the lock is held after Kill: %v", err)
	}
}

func TestKill(t *testing.T) {
	v := newStage(t, "hang").start(t, Options{})
	for range 2 {
		if err := v.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, exit := end(t, v)
	if exit.Cause != hv.ExitKilled || exit.Status != -1 {
		t.Fatalf("exit %+v", exit)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Fatalf("kill of a VM that has ended: %v", err)
	}
	if err := v.PowerButton(t.Context()); !errors.Is(err, hv.ErrGone) {
		t.Fatalf("power button of a VM that has ended: %v", err)
	}
	if _, err := v.Dial(t.Context(), 1); !errors.Is(err, hv.ErrGone) {
		t.Fatalf("dial to a VM that has ended: %v", err)
	}
}

func TestKillOfAStoppedQEMU(t *testing.T) {
	v := newStage(t, "hang").start(t, Options{CallTimeout: 50 * time.Millisecond})
	if err := unix.Kill(v.(*vm).proc.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := v.PowerButton(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("power button of a stopped QEMU: %v", err)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, exit := end(t, v); exit.Cause != hv.ExitKilled {
		t.Fatalf("exit %+v", exit)
	}
}

func TestPowerButton(t *testing.T) {
	v := newStage(t, "button").start(t, Options{})
	if err := v.PowerButton(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, exit := end(t, v); exit.Cause != hv.ExitPoweredOff {
		t.Fatalf("exit %+v", exit)
	}
}

func TestCallThatIsNotAnswered(t *testing.T) {
	v := newStage(t, "unanswered").start(t, Options{CallTimeout: 50 * time.Millisecond})
	err := v.PowerButton(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, hv.ErrGone) {
		t.Fatalf("error %v, want a deadline that passed", err)
	}
}

// A guest that resets without end fills no memory and hides no exit.
func TestRebootsWithoutAReader(t *testing.T) {
	s := newStage(t, "reboots")
	v := s.start(t, Options{})
	if err := v.(hv.Rebooter).AllowReboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := <-v.Events()
	if first.Kind != hv.EventRebooted || first.Why != "guest-reset" || first.Time.Year() != 2026 {
		t.Fatalf("first event %+v", first)
	}
	s.console.await(t, "all sent")
	if err := v.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-v.(*vm).done
	kinds, exit := end(t, v)
	// One less where the first was taken when all had come.
	if n := len(kinds); exit.Cause != hv.ExitKilled || n != maxEvents-1 && n != maxEvents-2 {
		t.Fatalf("%d events, exit %+v", len(kinds), exit)
	}
}

func TestStreamsAreDrained(t *testing.T) {
	s := newStage(t, "streams")
	v := s.start(t, Options{})
	if _, exit := end(t, v); exit.Cause != hv.ExitPoweredOff {
		t.Fatalf("exit %+v", exit)
	}
	if n := len(s.console.String()); n != 800_000 {
		t.Errorf("console: %d bytes", n)
	}
	if n := len(s.log.String()); n != 600_000 {
		t.Errorf("agent log: %d bytes", n)
	}
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	t.Setenv("SECRET", "1")
	s := newStage(t, "environment")
	end(t, s.start(t, Options{}))
	if got := s.console.String(); got != strings.Join(scrubbedEnv(), " ") {
		t.Fatalf("QEMU's environment is %q", got)
	}
}

func TestVsockSocket(t *testing.T) {
	s := newStage(t, "hang")
	s.spec.VsockSock = true
	path := filepath.Join(s.spec.RunDir, "v.sock")
	if err := os.WriteFile(path, []byte("left over"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := s.start(t, Options{})
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("socket: %v, %v", info, err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = v.Kill(t.Context())
	end(t, v)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("socket after the end: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*stage)
		says  string
	}{
		"no QEMU":      {func(s *stage) { s.spec.QEMU = "no-such-qemu" }, "apt-get install qemu-system-x86"},
		"no kernel":    {func(s *stage) { s.spec.Kernel += "x" }, `kernelx": no such file`},
		"kernel a dir": {func(s *stage) { s.spec.Kernel = s.spec.Dir }, "a file with something in it is needed"},
		"no initrd":    {func(s *stage) { s.spec.Initrd = "/no/initrd" }, `initrd "/no/initrd": no such file`},
		"memory":       {func(s *stage) { s.spec.Memory = 1 << 50 }, "memory 1073741824 MiB: this host has"},
		"cpus":         {func(s *stage) { s.spec.CPUs = 250 }, "cpus 250: this host has"},
		"no lock":      {func(s *stage) { s.env.Lock = nil }, "no lock"},
		"long run dir": {func(s *stage) { s.spec.VsockSock, s.spec.RunDir = true, "/"+strings.Repeat("r", 120) }, "at most 107"},
		"fork fails":   {func(s *stage) { s.env.Fork = failingFork }, "start QEMU: out of forks"},
		"accel":        {func(s *stage) { s.spec.Accel = "hvf" }, `accel "hvf"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "hang")
			c.spoil(s)
			_, err := New(Options{}).Start(t.Context(), s.spec, s.env)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want one with %q", err, c.says)
			}
		})
	}
}

func failingFork(string, []string, *os.ProcAttr) (*os.Process, error) {
	return nil, errors.New("out of forks")
}

// A QEMU that prints without end fills no memory, and a start can be given up.
func TestStartThatIsCancelled(t *testing.T) {
	s := newStage(t, "mute-flood")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := New(Options{}).Start(ctx, s.spec, s.env)
		failed <- err
	}()
	s.console.await(t, "flooded")
	cancel()
	err := <-failed
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the same again and again") || len(err.Error()) > 2*console.MaxText {
		t.Fatalf("error %v", err)
	}
}
