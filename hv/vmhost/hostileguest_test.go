//go:build linux

package vmhost_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// ravingDriver's guest prints lines of a megabyte that never end, reboots
// without end, and sends without end on each connection, of which it reads
// nothing.
type ravingDriver struct{}

type ravingVM struct {
	events chan hv.Event
	dead   chan struct{}
	once   sync.Once
}

func (ravingDriver) Name() hv.Backend              { return "raving" }
func (ravingDriver) Capabilities() hv.Capabilities { return hv.Capabilities{} }

func (ravingDriver) Start(_ context.Context, _ hv.Spec, env hv.Env) (hv.VM, error) {
	vm := &ravingVM{events: make(chan hv.Event), dead: make(chan struct{})}
	go func() {
		for line := bytes.Repeat([]byte{0x9b}, 1<<20); !vm.over(); {
			_, _ = env.Console.Write(line)
			_, _ = env.AgentLog.Write(line)
		}
	}()
	go func() {
		for {
			select {
			case vm.events <- hv.Event{Kind: hv.EventRebooted, Why: "again", Time: time.Now()}:
			case <-vm.dead:
				vm.events <- hv.Event{Kind: hv.EventExit, Exit: &hv.Exit{Cause: hv.ExitKilled, Time: time.Now()}}
				return
			}
		}
	}()
	return vm, nil
}

func (vm *ravingVM) over() bool {
	select {
	case <-vm.dead:
		return true
	default:
		return false
	}
}

func (vm *ravingVM) Events() <-chan hv.Event           { return vm.events }
func (vm *ravingVM) PowerButton(context.Context) error { return hv.ErrUnsupported }
func (vm *ravingVM) Kill(context.Context) error {
	vm.once.Do(func() { close(vm.dead) })
	return nil
}

func (vm *ravingVM) Dial(context.Context, uint32) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		if wire.CheckPreface(theirs, bytes.Repeat([]byte("k"), wire.TokenSize)) != nil {
			return
		}
		for b := make([]byte, 64<<10); ; {
			if _, err := theirs.Write(b); err != nil {
				return
			}
		}
	}()
	return ours, nil
}
func (vm *ravingVM) Listen(uint32) (net.Listener, error) { return nil, hv.ErrUnsupported }

// TestRavingGuest: a guest that says everything without end, to 200 callers who
// read nothing, costs its VM host floodMemory at most, and the disk the bounds
// of its files; the VM host of another machine is as ever, and kill is obeyed.
func TestRavingGuest(t *testing.T) {
	w, other := newWorld(t, ""), newWorld(t, "")
	w.spec.Backend = "raving"
	h, calm := w.launch(), other.launch()
	pid := w.only("arcbox-vmhost")
	before := w.anonymous(pid)
	for range 200 {
		c, err := h.Dial(w.ctx(), hv.AgentPort)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	deaf, err := net.Dial("unix", filepath.Join(w.spec.RunDir, api.HostSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	if _, err := deaf.Write([]byte(`{"op":"wait"}` + "\n")); err != nil { // and nothing is read
		t.Fatal(err)
	}
	most, last := int64(0), uint64(0)
	w.eventually("ten thousand reboots", func() bool {
		most = max(most, w.anonymous(pid)-before)
		hello, err := h.Hello(w.ctx())
		if err != nil {
			t.Fatalf("hello: %v", err)
		}
		last = hello.Events
		return last > 10_000
	})
	if _, err := calm.Hello(w.ctx()); err != nil {
		t.Errorf("another machine's VM host: %v", err)
	}
	var disk int64
	for _, name := range []string{api.ConsoleFile, api.ConsoleFile + ".1", api.AgentLogFile, api.AgentLogFile + ".1", api.OutFile, api.ErrFile} {
		if info, err := os.Stat(filepath.Join(w.spec.Dir, name)); err == nil {
			disk += info.Size()
		}
	}
	t.Logf("%d reboots, 200 callers: %d KiB more, %d KiB on disk", last, most>>10, disk>>10)
	if most > floodMemory || disk > 5<<20 {
		t.Errorf("at most %d bytes of memory and %d on disk are allowed", floodMemory, 5<<20)
	}
	if err := h.Kill(w.ctx()); err != nil {
		t.Errorf("kill: %v", err)
	}
	w.eventually("the lock to be free", w.free)
	if note, err := client.ReadNote(w.place()); err != nil || note == nil || note.Cause != hv.ExitKilled {
		t.Errorf("note: %+v, %v", note, err)
	}
}
