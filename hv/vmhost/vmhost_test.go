//go:build linux

package vmhost_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// agentOf is a client of the guest's agent, through the VM host.
func agentOf(t *testing.T, h *client.Host) wire.AgentClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///guest",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return h.Dial(ctx, hv.AgentPort) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return wire.NewAgentClient(cc)
}

func TestLaunchTalkAndPowerOff(t *testing.T) {
	w := newWorld(t, "console=hello from the guest")
	lock := w.lock()
	h, hello, err := client.Launch(w.ctx(), w.bin, lock, w.spec)
	if err != nil {
		t.Fatal(err)
	}
	if lock.Held() {
		t.Error("the engine still holds the lock after the launch")
	}
	if w.free() {
		t.Error("the lock is free while the VM host lives")
	}
	if hello.Machine != w.spec.Machine || hello.Launch != w.spec.Launch || hello.CID != 3 || hello.Version != "test" {
		t.Errorf("hello: %+v", hello)
	}
	agent, err := agentOf(t, h).Hello(w.ctx(), &wire.HelloRequest{Protocol: wire.Protocol})
	if err != nil || agent.GetBootId() == "" || agent.GetCid() != 3 {
		t.Errorf("agent: %v, %v", agent, err)
	}
	if err := h.AllowReboot(w.ctx()); err != nil {
		t.Error(err)
	}
	if _, err := h.Dial(w.ctx(), 99); !errors.Is(err, client.ErrRefused) {
		t.Errorf("dial of a port where nobody listens: %v", err)
	}
	c := w.raw(`{"op":"wait"}`) // its ok has come: it will be told
	if err := h.PowerButton(w.ctx()); err != nil {
		t.Error(err)
	}
	told, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("wait: %v", err)
	}
	last, err := api.DecodeEvent(told)
	if err != nil || last.Exit == nil || last.Exit.Cause != hv.ExitPoweredOff {
		t.Errorf("events: %q, %v", told, err)
	}
	found, err := client.Find(w.ctx(), w.place())
	if err != nil || found.Lock == nil || found.Note == nil || found.Note.Cause != hv.ExitPoweredOff || found.Note.Launch != w.spec.Launch {
		t.Fatalf("find: %+v, %v", found, err)
	}
	_ = found.Lock.Close()
	left, _ := os.ReadDir(w.spec.RunDir)
	if len(left) != 0 {
		t.Errorf("sockets left: %v", left)
	}
	tail, err := client.Tail(w.place(), api.ConsoleFile, 1<<10)
	if err != nil || !strings.Contains(tail, "hello from the guest\n") {
		t.Errorf("console: %q, %v", tail, err)
	}
}

// raw makes a request by hand and reads its answer, which must be ok.
func (w *world) raw(request string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("unix", filepath.Join(w.spec.RunDir, api.HostSocket))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request+"\n"); err != nil {
		w.t.Fatal(err)
	}
	line, rest, err := api.ReadLine(c)
	if err != nil || string(line) != `{"ok":true}` || len(rest) != 0 {
		w.t.Fatalf("%s: %q, %q, %v", request, line, rest, err)
	}
	return c
}

func TestLaunchFails(t *testing.T) {
	w := newWorld(t, "start-fails")
	_, _, err := client.Launch(w.ctx(), w.bin, w.lock(), w.spec)
	var failed *client.LaunchError
	if !errors.As(err, &failed) || failed.Note == nil || failed.Note.Cause != hv.ExitFailed || !strings.Contains(err.Error(), "start failed") {
		t.Errorf("start fails: %v", err)
	}
	if !w.free() {
		t.Error("the lock is held after a launch that failed")
	}

	w.spec.Script = "cids-taken=4294967294"
	_, _, err = client.Launch(w.ctx(), w.bin, w.lock(), w.spec)
	if !errors.As(err, &failed) || failed.Note.Cause != hv.ExitCIDTaken || !errors.Is(err, hv.ErrCIDTaken) {
		t.Errorf("its CID is taken: %v", err)
	}

	lock := w.lock()
	if _, _, err = client.Launch(w.ctx(), filepath.Join(w.spec.Dir, "nothing"), lock, w.spec); err == nil || !lock.Held() {
		t.Errorf("spawn of nothing: %v, lock held: %v", err, lock.Held())
	}
	w.spec.Backend = "other"
	if _, _, err = client.Launch(w.ctx(), w.bin, lock, w.spec); !errors.As(err, &failed) || !strings.Contains(failed.Tail, `backend \"other\"`) {
		t.Errorf("unknown backend: %v", err)
	}
}

func TestLateHelloIsKilled(t *testing.T) {
	w := newWorld(t, "start-takes=1h")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, _, err := client.Launch(ctx, w.bin, w.lock(), w.spec)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late hello: %v", err)
	}
	if !w.free() || len(w.pids("")) != 0 {
		t.Errorf("lock free: %v, processes: %v", w.free(), w.pids(""))
	}
}

// A kill waits for nothing, least of all for the VM's start.
func TestKillOvertakesTheStart(t *testing.T) {
	w := newWorld(t, "start-takes=1h")
	engine := w.engine()
	w.eventually("the socket is there", func() bool {
		_, err := os.Stat(filepath.Join(w.spec.RunDir, api.HostSocket))
		return err == nil
	})
	if err := client.Connect(w.place()).Kill(w.ctx()); err != nil {
		t.Errorf("kill: %v", err)
	}
	w.eventually("the lock is free", w.free)
	if note, err := client.ReadNote(w.place()); err != nil || note == nil || note.Cause != hv.ExitKilled {
		t.Errorf("note: %+v, %v", note, err)
	}
	_ = engine.Process.Kill()
	_ = engine.Wait()
}

// A spec that is cut short or changed ends the process without a VM.
func TestDamagedSpec(t *testing.T) {
	w := newWorld(t, "console=must never be printed")
	good, err := api.EncodeSpec(w.spec)
	if err != nil {
		t.Fatal(err)
	}
	changed := []byte(strings.Replace(string(good), "must never", "must  ever", 1))
	lock := w.lockFile(true)
	defer func() { _ = lock.Close() }()
	for name, input := range map[string][]byte{
		"empty": nil, "half": good[:len(good)/2], "no checksum": good[:len(good)-65], "last byte gone": good[:len(good)-1],
		"changed": changed, "more": append(good[:len(good):len(good)], 'x'),
	} {
		if code := w.runHost(input, lock); code != 2 {
			t.Errorf("%s: exit status %d", name, code)
		}
	}
	if note, err := client.ReadNote(w.place()); note != nil || err != nil {
		t.Errorf("note: %v, %v", note, err)
	}
	if _, err := os.Stat(filepath.Join(w.spec.Dir, api.ConsoleFile)); !os.IsNotExist(err) {
		t.Errorf("console: %v", err)
	}
}

// A descriptor 3 that is not the locked lock file is refused.
func TestWrongLock(t *testing.T) {
	w, other := newWorld(t, ""), newWorld(t, "")
	input, err := api.EncodeSpec(w.spec)
	if err != nil {
		t.Fatal(err)
	}
	held, unlocked, others := w.lockFile(true), w.lockFile(false), other.lockFile(true)
	if code := w.runHost(input, others); code != 2 {
		t.Errorf("another machine's lock: exit status %d", code)
	}
	if code := w.runHost(input, unlocked); code != 2 {
		t.Errorf("the lock file, not locked: exit status %d", code)
	}
	for _, f := range []*os.File{held, unlocked, others} {
		_ = f.Close()
	}
}

// runHost runs a VM host as an engine would, with any input and descriptor 3.
func (w *world) runHost(input []byte, lock *os.File) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin)
	cmd.Args, cmd.Stdin, cmd.ExtraFiles = []string{"arcbox-vmhost"}, bytes.NewReader(input), []*os.File{lock}
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

// lockFile opens a machine's lock file, and locks it if asked to.
func (w *world) lockFile(locked bool) *os.File {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.spec.Dir, api.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	if locked {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			w.t.Fatal(err)
		}
	}
	return f
}

// Bridge: bytes go on when the requester is gone, both half-closes pass.
func TestBridgeSurvivesItsRequester(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far, near := os.NewFile(uintptr(fds[0]), "far"), os.NewFile(uintptr(fds[1]), "near")
	if err := h.Bridge(w.ctx(), sim.EchoPort, far); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	c, err := net.FileConn(near)
	if err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "over the bridge"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "over the bridge" {
		t.Errorf("got %q, %v", got, err)
	}
	file, err := os.Open(w.spec.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := h.Bridge(w.ctx(), sim.EchoPort, file); err == nil || !strings.Contains(err.Error(), "bad-request") {
		t.Errorf("bridge of a file: %v", err)
	}
}

func TestDialHalfClose(t *testing.T) {
	w := newWorld(t, "")
	c, err := w.launch().Dial(w.ctx(), sim.EchoPort)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	sent := strings.Repeat("0123456789abcdef", 64<<10)
	go func() {
		_, _ = io.WriteString(c, sent)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || string(got) != sent {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The agent's port: an agent that takes connections and says nothing is a
// timeout of the guest, not of the VM host.
func TestDialHangingAgent(t *testing.T) {
	w := newWorld(t, "agent=hang")
	h := w.launch()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := h.Dial(ctx, hv.AgentPort)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrMute) {
		t.Errorf("dial: %v", err)
	}
	if _, err := h.Hello(w.ctx()); err != nil {
		t.Error(err)
	}
}

func TestWaitFromASeq(t *testing.T) {
	w := newWorld(t, "reboot-after=1s; poweroff-after=1200ms")
	h := w.launch()
	if err := h.AllowReboot(w.ctx()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Wait(w.ctx(), 1, func(e api.Event) { t.Logf("late reader: %+v", e) }) }()
	var seqs []uint64
	var kinds []hv.EventKind
	err := h.Wait(w.ctx(), 0, func(e api.Event) { seqs, kinds = append(seqs, e.Seq), append(kinds, e.Kind) })
	if err != nil || len(kinds) != 2 || kinds[0] != hv.EventRebooted || kinds[1] != hv.EventExit || seqs[0] != 1 || seqs[1] != 2 {
		t.Errorf("%v %v, %v", kinds, seqs, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A guest that is held still answers nobody; its VM host does, and it goes on.
func TestPause(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	if err := h.Pause(w.ctx()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.ctx(), 100*time.Millisecond)
	defer cancel()
	if c, err := h.Dial(ctx, hv.AgentPort); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial of a guest that is held still: %v, %v", c, err)
	}
	hello, err := h.Hello(w.ctx())
	if err != nil || !slices.Contains(hello.Ops, api.OpPause) || !slices.Contains(hello.Ops, api.OpResume) || hello.Events != 1 {
		t.Errorf("%+v, %v", hello, err)
	}
	if err := h.Resume(w.ctx()); err != nil {
		t.Fatal(err)
	}
	c, err := h.Dial(w.ctx(), hv.AgentPort)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// A guest that is held still goes on where SIGTERM asks it to shut down.
func TestSIGTERMOfThePaused(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	if err := h.Pause(w.ctx()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(w.only("arcbox-vmhost"), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var said []hv.EventKind
	var cause hv.ExitCause
	err := h.Wait(w.ctx(), 0, func(e api.Event) {
		if said = append(said, e.Kind); e.Exit != nil {
			cause = e.Exit.Cause
		}
	})
	if want := []hv.EventKind{hv.EventPaused, hv.EventResumed, hv.EventExit}; err != nil || !slices.Equal(said, want) || cause != hv.ExitPoweredOff {
		t.Errorf("it said %v, %s, %v; want %v", said, cause, err, want)
	}
}

// SIGTERM asks the guest; one that does not go is killed when the grace is over.
func TestSIGTERM(t *testing.T) {
	for script, cause := range map[string]hv.ExitCause{"": hv.ExitPoweredOff, "ignore-shutdown": hv.ExitKilled} {
		w := newWorld(t, script)
		w.launch()
		if err := unix.Kill(w.only("arcbox-vmhost"), unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		w.eventually("the lock to be free", w.free)
		note, err := client.ReadNote(w.place())
		if err != nil || note == nil || note.Cause != cause {
			t.Errorf("script %q: %+v, %v", script, note, err)
		}
	}
}
