package vz

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/hvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// image is the head of a kernel that the boot loader of a processor takes.
func image(arch hv.Arch) []byte {
	head := make([]byte, 4096)
	if arch == hv.ArchARM64 {
		copy(head[0x38:], "ARM\x64")
		return head
	}
	binary.LittleEndian.PutUint16(head[0x1fe:], 0xaa55)
	copy(head[0x202:], "HdrS")
	return head
}

// specOf is of a VM that a rig runs.
func specOf(t *testing.T) hv.Spec {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/tmp", "vz") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	s := hv.Spec{
		Version: hv.SpecVersionArch, Arch: hv.HostArch, Machine: "m", Name: "n", Launch: "l", CID: 3, Backend: hv.BackendVZ, Accel: hv.AccelAuto,
		CPUs: 2, Memory: 256 << 20, Kernel: filepath.Join(dir, "kernel"), Dir: dir, RunDir: run,
	}
	if err := os.WriteFile(s.Kernel, image(hv.HostArch), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	hvtest.Run(t, func(t *testing.T) hvtest.Subject {
		r, f := newRig(t, nil)
		return hvtest.Subject{
			Driver: newDriver(Options{}, f),
			Spec:   specOf,
			Failing: func(t *testing.T) hv.Spec {
				s := specOf(t)
				s.Kernel += ".none"
				s.Memory += 64 << 20 // no saved guest had that
				return s
			},
			Echo: echoPort, Closed: 99,
			Boot:      func(context.Context, hv.VM) (string, error) { return r.who(), nil },
			GuestDial: func(_ hv.VM, port uint32) (net.Conn, error) { return r.dialHost(port) },
		}
	})
}

// kept is a console.
type kept struct {
	mu   sync.Mutex
	text strings.Builder
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(p)
}

func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.String()
}

func begin(t *testing.T, f framework, spec hv.Spec, env hv.Env) hv.VM {
	t.Helper()
	v, err := newDriver(Options{}, f).Start(t.Context(), spec, env)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func exitOf(t *testing.T, v hv.VM) (hv.Exit, []hv.EventKind) {
	t.Helper()
	var kinds []hv.EventKind
	for e := range v.Events() {
		if kinds = append(kinds, e.Kind); e.Exit != nil {
			return *e.Exit, kinds
		}
	}
	t.Fatal("no exit")
	return hv.Exit{}, nil
}

// Both consoles are read before the VM starts, to what it printed last, whatever
// its size.
func TestConsolesAreRead(t *testing.T) {
	r, f := newRig(t, nil)
	console, log := &kept{}, &kept{}
	v := begin(t, f, specOf(t), hv.Env{Console: console, AgentLog: log})
	long := strings.Repeat("a line of the console\n", 50_000)
	for w, text := range map[*os.File]string{r.wires.Console: long, r.wires.Log: "agent"} {
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(r.wires.Console, "bye"); err != nil {
		t.Fatal(err)
	}
	r.become(stateStopping, stateStopped)
	if x, _ := exitOf(t, v); x.Cause != hv.ExitPoweredOff {
		t.Errorf("%+v", x)
	}
	if console.String() != long+"bye" || log.String() != "agent" {
		t.Errorf("%d bytes of the console, %q of the agent", len(console.String()), log.String())
	}
}

// A kernel that panics stops, for it is told not to reset; the console tells, and
// the VM is stopped.
func TestPanicEndsTheVM(t *testing.T) {
	r, f := newRig(t, nil)
	v := begin(t, f, specOf(t), hv.Env{})
	if _, err := io.WriteString(r.wires.Console, "[ 1.5] Kernel panic - not syncing: VFS\r\n[ 1.6] CPU\n[ 1.7] ---[ end Kernel panic - not syncing: VFS ]---\r\n"); err != nil {
		t.Fatal(err)
	}
	x, kinds := exitOf(t, v)
	if x.Cause != hv.ExitPanic || !strings.Contains(x.Detail, "not syncing: VFS") || !slices.Equal(kinds, []hv.EventKind{hv.EventPanicked, hv.EventExit}) {
		t.Errorf("%+v, %v", x, kinds)
	}
}

// A guest that is gone already is not stopped: the framework may not survive that.
func TestNothingIsToldToAGuestThatIsGone(t *testing.T) {
	for _, end := range []state{stateStopped, stateError} {
		r, f := newRig(t, nil)
		v := begin(t, f, specOf(t), hv.Env{})
		r.become(end) // and nobody has read it yet
		if err := v.Kill(t.Context()); err != nil {
			t.Errorf("kill: %v", err)
		}
		if err := v.Kill(t.Context()); err != nil {
			t.Errorf("kill again: %v", err)
		}
		if err := v.PowerButton(t.Context()); !errors.Is(err, hv.ErrGone) {
			t.Errorf("power button: %v", err)
		}
		if x, _ := exitOf(t, v); x.Cause != hv.ExitKilled {
			t.Errorf("%s: %+v", end, x)
		}
		if told := r.deeds(); !slices.Equal(told, []deed{deedStart}) {
			t.Errorf("%s: it was told %q", end, told)
		}
	}
}

// Many kills are one stop, and none waits longer than its context for a framework
// that does not answer.
func TestKillOfAMuteFramework(t *testing.T) {
	answer := make(chan int)
	r, f := newRig(t, func(r *rig) { r.hold = map[deed]chan int{deedStop: answer} })
	v := begin(t, f, specOf(t), hv.Env{})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := v.Kill(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("kill: %v", err)
			}
		})
	}
	<-r.held
	cancel()
	all.Wait()
	if told := r.deeds(); !slices.Equal(told, []deed{deedStart, deedStop}) {
		t.Errorf("it was told %q", told)
	}
	close(answer)
	if x, _ := exitOf(t, v); x.Cause != hv.ExitKilled {
		t.Errorf("%+v", x)
	}
}

// A start that fails, or does not answer in time, leaves no VM.
func TestStartLeavesNothing(t *testing.T) {
	r, f := newRig(t, func(r *rig) { r.refuse = map[deed]error{deedStart: errState} })
	if _, err := newDriver(Options{}, f).Start(t.Context(), specOf(t), hv.Env{}); !errors.As(err, new(*fault)) {
		t.Errorf("%v", err)
	}
	if told := r.deeds(); !slices.Equal(told, []deed{deedStart}) {
		t.Errorf("it was told %q", told)
	}
	if _, err := r.wires.Console.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the wires are open: %v", err)
	}

	_, f = newRig(t, func(r *rig) { r.hold = map[deed]chan int{deedStart: make(chan int)} })
	if _, err := newDriver(Options{StartTimeout: 20 * time.Millisecond}, f).Start(t.Context(), specOf(t), hv.Env{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A dial ends with its context though the framework never answers, and at most so
// many wait.
func TestDialOfAMuteGuest(t *testing.T) {
	_, f := newRig(t, func(r *rig) { r.mute = true })
	v := begin(t, f, specOf(t), hv.Env{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for range maxDialing {
		all.Go(func() {
			if _, err := v.Dial(ctx, echoPort); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial: %v", err)
			}
		})
	}
	all.Wait()
	if _, err := v.Dial(t.Context(), echoPort); !errors.Is(err, errBusy) {
		t.Errorf("one more dial: %v", err)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	exitOf(t, v)
}

// A framework that never answers a listener holds up nobody else, nor the VM's end.
func TestListenOfAMuteFramework(t *testing.T) {
	r, f := newRig(t, func(r *rig) { r.mute = true })
	v := begin(t, f, specOf(t), hv.Env{})
	go func() { _, _ = v.Listen(5000) }()
	<-r.held
	if _, err := v.Listen(5000); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listen twice: %v", err)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if x, _ := exitOf(t, v); x.Cause != hv.ExitKilled {
		t.Errorf("%+v", x)
	}
}

// A port that the framework refused can be listened on later.
func TestListenThatIsRefused(t *testing.T) {
	r, f := newRig(t, func(r *rig) { r.refuse = map[deed]error{"accept": errState} })
	v := begin(t, f, specOf(t), hv.Env{})
	if _, err := v.Listen(5000); !errors.As(err, new(*fault)) {
		t.Errorf("%v", err)
	}
	r.mu.Lock()
	r.refuse = nil
	r.mu.Unlock()
	l, err := v.Listen(5000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.dialHost(5000); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err != nil {
		t.Error(err)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	exitOf(t, v)
}

// Other programs dial the guest by the CONNECT socket, until the VM has ended.
func TestConnectSocket(t *testing.T) {
	_, f := newRig(t, nil)
	s := specOf(t)
	s.VsockSock = true
	v := begin(t, f, s, hv.Env{})
	path := filepath.Join(s.RunDir, hv.VsockSocket)
	dial := func(line string) (net.Conn, string) {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
		answer, _ := bufio.NewReaderSize(c, 16).ReadString('\n')
		return c, answer
	}
	if _, answer := dial("CONNECT 99\n"); answer != "" {
		t.Errorf("a closed port: %q", answer)
	}
	c, answer := dial("CONNECT 7\n")
	if answer != "OK 1048576\n" {
		t.Fatalf("%q", answer)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	open, _ := dial("CONNECT 7\n")
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	exitOf(t, v)
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives its VM")
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket outlives its VM")
	}
}

// What the guest sends to a port that is not listened on any more is closed, and
// the port can be listened on again.
func TestListenAgain(t *testing.T) {
	r, f := newRig(t, nil)
	v := begin(t, f, specOf(t), hv.Env{})
	for range 3 {
		l, err := v.Listen(5000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Listen(5000); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		for range backlog + 3 { // more than wait
			if _, err := r.dialHost(5000); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		guest, err := r.dialHost(5000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := guest.Read(make([]byte, 1)); err == nil {
			t.Error("a connection to nobody stays open")
		}
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	exitOf(t, v)
}

// Frames pass the link both ways, to one peer after the other; what can be no
// frame is passed over, and with nobody there the guest waits for nobody.
func TestLink(t *testing.T) {
	r, f := newRig(t, nil)
	s := specOf(t)
	s.NIC = &hv.NIC{MAC: "52:00:00:00:00:01", MTU: 65520, Socket: filepath.Join(s.RunDir, "n.sock")}
	v := begin(t, f, s, hv.Env{})
	guest, err := net.FileConn(r.wires.Network)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guest.Close() }()
	small, large := make([]byte, ethernet), make([]byte, 65520+ethernet)
	for i := range large {
		large[i] = byte(i)
	}
	unheard := make([]byte, ethernet+1)
	for range 1000 { // nobody is there
		if _, err := guest.Write(unheard); err != nil && !errors.Is(err, syscall.ENOBUFS) {
			t.Fatal(err)
		}
	}
	for range 3 {
		peer, err := net.Dial("unix", s.NIC.Socket)
		if err != nil {
			t.Fatal(err)
		}
		send := func(n int, frame []byte) {
			if _, err := peer.Write(append(binary.BigEndian.AppendUint32(nil, uint32(n)), frame...)); err != nil {
				t.Fatal(err)
			}
		}
		send(3, []byte("odd"))
		for _, frame := range [][]byte{small, large} {
			send(len(frame), frame)
			got := make([]byte, len(large)+1)
			if n, err := guest.Read(got); err != nil || string(got[:n]) != string(frame) {
				t.Fatalf("to the guest: %d bytes of %d, %v", n, len(frame), err)
			}
			for _, out := range [][]byte{[]byte("odd"), frame} {
				if _, err := guest.Write(out); err != nil {
					t.Fatal(err)
				}
			}
			got = unheard // the last of them may be on their way still
			for len(got) == len(unheard) {
				var head [prefixSize]byte
				if _, err := io.ReadFull(peer, head[:]); err != nil {
					t.Fatal(err)
				}
				got = make([]byte, binary.BigEndian.Uint32(head[:]))
				if _, err := io.ReadFull(peer, got); err != nil {
					t.Fatal(err)
				}
			}
			if string(got) != string(frame) {
				t.Fatalf("from the guest: %d bytes, want %d", len(got), len(frame))
			}
		}
		send(longestLink+1, nil) // no network sends that
		if _, err := peer.Read(make([]byte, 1)); err == nil {
			t.Error("a peer that sends no frames is kept")
		}
		_ = peer.Close()
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	exitOf(t, v)
	if _, err := net.Dial("unix", s.NIC.Socket); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the link of a VM that is gone: %v", err)
	}
}
