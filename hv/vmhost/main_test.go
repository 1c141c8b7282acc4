//go:build linux

package vmhost_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// The test binary plays every process of these tests; argv[0] names the part.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "arcbox-vmhost":
		cfg := vmhost.Config{Drivers: []hv.Driver{sim.New(), forkDriver{}, ravingDriver{}}, Version: "test", Grace: 300 * time.Millisecond}
		os.Exit(vmhost.Run(context.Background(), cfg))
	case "hypervisor": // holds the lock at descriptor 3 until it is killed
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		for { // in the kernel: without cgo, the runtime takes a goroutine that waits alone for a deadlock
			_ = unix.Pause()
		}
	case "engine":
		os.Exit(playEngine(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// forkDriver's VM is a process that does nothing, started as QEMU is. With the
// script "outlives" it gets no death signal, as where a system has none.
type forkDriver struct{}

type forkVM struct {
	p      *os.Process
	events chan hv.Event
}

func (forkDriver) Name() hv.Backend              { return "fork" }
func (forkDriver) Capabilities() hv.Capabilities { return hv.Capabilities{} }

func (forkDriver) Start(_ context.Context, spec hv.Spec, env hv.Env) (hv.VM, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	fork := env.Fork
	if spec.Script == "outlives" {
		fork = os.StartProcess
	}
	p, err := fork(self, []string{"hypervisor", "machine=" + spec.Name}, &os.ProcAttr{
		Files: []*os.File{nil, nil, nil, env.Lock},
	})
	if err != nil {
		return nil, err
	}
	vm := &forkVM{p: p, events: make(chan hv.Event, 1)}
	go func() {
		state, _ := p.Wait()
		vm.events <- hv.Event{Kind: hv.EventExit, Exit: &hv.Exit{Cause: hv.ExitCrashed, Status: state.ExitCode(), Time: time.Now()}}
		close(vm.events)
	}()
	return vm, nil
}

func (vm *forkVM) Events() <-chan hv.Event           { return vm.events }
func (vm *forkVM) PowerButton(context.Context) error { return hv.ErrUnsupported }
func (vm *forkVM) Kill(context.Context) error        { return vm.p.Kill() }
func (vm *forkVM) Dial(context.Context, uint32) (net.Conn, error) {
	return nil, hv.ErrUnsupported
}
func (vm *forkVM) Listen(uint32) (net.Listener, error) { return nil, hv.ErrUnsupported }

// playEngine takes the lock, launches, says so, and waits to be killed.
func playEngine(args []string) int {
	spec := testSpec(args[0], args[1], args[2])
	lock, err := client.TakeLock(context.Background(), placeOf(spec))
	if err == nil {
		_, _, err = client.Launch(context.Background(), args[3], lock, spec)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("launched")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func testSpec(dir, name, script string) hv.Spec {
	return hv.Spec{
		Version: hv.SpecVersion, Machine: "m-" + name, Name: name, Launch: "launch-" + name, CID: 3,
		Backend: hv.BackendSim, Accel: hv.AccelTCG, CPUs: 1, Memory: 64 << 20,
		TokenFile: filepath.Join(dir, "token"), Dir: dir, RunDir: filepath.Join(dir, "run"), Script: script,
	}
}

func placeOf(s hv.Spec) client.Place { return client.Place{Dir: s.Dir, RunDir: s.RunDir} }

// world is one machine's directory and the binary of its VM host.
type world struct {
	t    *testing.T
	spec hv.Spec
	bin  string
}

func newWorld(t *testing.T, script string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmh") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, spec: testSpec(dir, filepath.Base(dir), script), bin: self}
	if err := os.WriteFile(w.spec.TokenFile, []byte(strings.Repeat("k", wire.TokenSize)), 0o400); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	return w
}

func (w *world) place() client.Place { return placeOf(w.spec) }

// ctx lasts as long as anything here may take.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) launch() *client.Host {
	w.t.Helper()
	h, _, err := client.Launch(w.ctx(), w.bin, w.lock(), w.spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) lock() *client.Lock {
	w.t.Helper()
	lock, err := client.TakeLock(w.ctx(), w.place())
	if err != nil {
		w.t.Fatal(err)
	}
	return lock
}

// end kills what is left and waits until nothing of the machine lives.
func (w *world) end() {
	lock, err := client.End(w.ctx(), w.place())
	if err != nil {
		w.t.Errorf("end: %v", err)
		return
	}
	_ = lock.Close()
	w.eventually("every process is gone", func() bool { return len(w.pids("")) == 0 })
}

// pids are the living processes of this machine whose argv[0] begins with part.
func (w *world) pids(part string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, d := range dirs {
		args, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil || !strings.HasPrefix(string(args), part) || !strings.Contains(string(args), "\x00machine="+w.spec.Name+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(d), &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// only is the one living process of a part.
func (w *world) only(part string) int {
	w.t.Helper()
	pids := w.pids(part)
	if len(pids) != 1 {
		w.t.Fatalf("%s: processes %v, want one", part, pids)
	}
	return pids[0]
}

// eventually looks again and again until cond holds.
func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(15 * time.Second); !cond(); <-tick.C {
		if time.Now().After(limit) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

// free tells whether the lock is free at this moment.
func (w *world) free() bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // one try
	lock, err := client.TakeLock(ctx, w.place())
	if err != nil {
		return false
	}
	_ = lock.Close()
	return true
}

// engine starts a process that launches the machine and stays.
func (w *world) engine() *exec.Cmd {
	w.t.Helper()
	cmd := &exec.Cmd{Path: w.bin, Args: []string{"engine", w.spec.Dir, w.spec.Name, w.spec.Script, w.bin}}
	if _, err := cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd
}

// stop stops a process, and waits until each of its threads has.
func (w *world) stop(pid int) {
	w.t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("every thread is stopped", func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, task := range tasks {
			stat, err := os.ReadFile(task)
			if _, after, ok := strings.Cut(string(stat), ") "); err != nil || !ok || !strings.HasPrefix(after, "T") {
				return false
			}
		}
		return len(tasks) > 0
	})
}
