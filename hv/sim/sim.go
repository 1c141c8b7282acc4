package sim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

// EchoPort is the guest's port that echoes.
const EchoPort = 7

// maxConns bounds the connections of one VM.
const maxConns = 1536

// Driver makes sim VMs.
type Driver struct{}

var (
	_ hv.Driver   = Driver{}
	_ hv.Rebooter = (*VM)(nil)
	_ hv.Grower   = (*VM)(nil)
	_ hv.Pauser   = (*VM)(nil)
	_ hv.Saver    = (*VM)(nil)
)

// New makes the driver.
func New() Driver { return Driver{} }

// Name is hv.BackendSim.
func (Driver) Name() hv.Backend { return hv.BackendSim }

// Capabilities says that a sim VM can do everything.
func (Driver) Capabilities() hv.Capabilities {
	return hv.Capabilities{PowerButton: true, Reboot: true, Listen: true, Grow: true, Pause: true, Save: true}
}

// Start runs spec.Script, of which a guest that goes on has the rest.
func (Driver) Start(ctx context.Context, spec hv.Spec, env hv.Env) (hv.VM, error) {
	script, err := Parse(spec.Script)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(spec.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("sim: token: %w", err)
	}
	started := time.NewTimer(script.StartTakes)
	defer started.Stop()
	select {
	case <-started.C:
	case <-ctx.Done():
		return nil, fmt.Errorf("sim: start: %w", ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sim: start: %w", err)
	}
	if script.StartFails {
		return nil, errors.New("sim: start failed, as the script says")
	}
	if spec.CID < script.CIDsTaken {
		return nil, fmt.Errorf("sim: CID %d: %w, as the script says", spec.CID, hv.ErrCIDTaken)
	}
	vm := &VM{
		spec: spec, env: env, script: script, token: token, begun: time.Now(),
		events: make(chan hv.Event, maxEvents), ended: make(chan struct{}),
		conns: map[net.Conn]struct{}{}, listeners: map[uint32]*vsock.Listener{},
	}
	if spec.Saved != "" {
		m, err := recall(spec)
		if err != nil {
			return nil, err
		}
		vm.goOn(m)
		return vm, nil
	}
	if script.Console != "" {
		_, _ = io.WriteString(env.Console, script.Console+"\n")
	}
	vm.boot()
	vm.schedule(0)
	return vm, nil
}

// schedule has happen what the script times, for a guest that has run so long.
func (vm *VM) schedule(ran time.Duration) {
	for _, t := range vm.script.Timed {
		if t.After >= ran {
			vm.later(t.After-ran, func() { vm.perform(t) })
		}
	}
}

// maxEvents is how many events wait for their reader; one place is the exit's.
const maxEvents = 64

// VM is one sim VM. Its mutex guards what follows it.
type VM struct {
	spec   hv.Spec
	env    hv.Env
	script Script
	token  []byte
	begun  time.Time
	events chan hv.Event
	ended  chan struct{} // closed when it has ended
	saving atomic.Bool

	mu        sync.Mutex
	over      bool
	timers    []*time.Timer
	conns     map[net.Conn]struct{}      // both ends of what is open
	listeners map[uint32]*vsock.Listener // the host's
	agent     *agent                     // nil until the guest has booted
	reboots   bool                       // by AllowReboot
	shutting  bool
	resumed   chan struct{} // not nil = it is paused; closed when it goes on, or has ended
}

// Events yields what the VM says.
func (vm *VM) Events() <-chan hv.Event { return vm.events }

// later does f after d, unless the VM has ended by then.
func (vm *VM) later(d time.Duration, f func()) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	vm.laterLocked(d, f)
}

func (vm *VM) laterLocked(d time.Duration, f func()) {
	if !vm.over {
		vm.timers = append(vm.timers, time.AfterFunc(d, f))
	}
}

// boot starts the guest: an agent after script.Boot, with a boot id of its own.
func (vm *VM) boot() {
	up := func() {
		vm.mu.Lock()
		defer vm.mu.Unlock()
		if vm.over || vm.agent != nil {
			return
		}
		vm.listenLocked(identity{ID: newID(), BootID: newID()})
	}
	if vm.script.Boot == 0 {
		up()
		return
	}
	vm.later(vm.script.Boot, up)
}

// listenLocked begins the agent.
func (vm *VM) listenLocked(who identity) {
	vm.agent = newAgent(vm, who)
	_, _ = fmt.Fprintf(vm.env.AgentLog, "sim agent listens on port %d, boot id %s\n", hv.AgentPort, vm.agent.bootID)
}

func (vm *VM) perform(t Timed) {
	switch {
	case t.Do == DeedReboot:
		vm.reset()
	case t.Cause == hv.ExitPanic:
		vm.say(hv.Event{Kind: hv.EventPanicked, Why: "as the script says"})
		vm.end(hv.Exit{Cause: hv.ExitPanic, Detail: "the guest panicked, as the script says"})
	default:
		vm.end(hv.Exit{Cause: t.Cause, Detail: "as the script says"})
	}
}

// reset is the guest's own.
func (vm *VM) reset() {
	vm.mu.Lock()
	if vm.over {
		vm.mu.Unlock()
		return
	}
	if !vm.reboots {
		vm.mu.Unlock()
		vm.end(hv.Exit{Cause: hv.ExitCrashed, Detail: "the guest reset before it was ready"})
		return
	}
	old := vm.agent
	vm.agent, vm.shutting = nil, false
	vm.closeConnsLocked()
	vm.mu.Unlock()
	if old != nil {
		old.stop()
	}
	vm.say(hv.Event{Kind: hv.EventRebooted})
	vm.boot()
}

// say drops an event that nobody has room for, never the exit.
func (vm *VM) say(e hv.Event) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	vm.sayLocked(e)
}

func (vm *VM) sayLocked(e hv.Event) {
	if e.Time = time.Now(); !vm.over && len(vm.events) < maxEvents-1 {
		vm.events <- e
	}
}

// end ends the VM; only the first counts.
func (vm *VM) end(exit hv.Exit) { _ = vm.endAfter(exit, func() error { return nil }) }

// endAfter ends the VM behind the last that is done with it, unless that fails.
func (vm *VM) endAfter(exit hv.Exit, last func() error) error {
	vm.mu.Lock()
	err := hv.ErrGone
	if !vm.over {
		err = last()
	}
	if err != nil {
		vm.mu.Unlock()
		return err
	}
	vm.over = true
	for _, t := range vm.timers {
		t.Stop()
	}
	vm.closeConnsLocked()
	vm.goOnLocked()
	listeners, agent := vm.listeners, vm.agent
	vm.listeners = nil
	vm.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	if agent != nil {
		agent.stop()
	}
	exit.Time = time.Now()
	vm.events <- hv.Event{Kind: hv.EventExit, Exit: &exit, Time: exit.Time}
	close(vm.events)
	close(vm.ended)
	return nil
}

func (vm *VM) closeConnsLocked() {
	for c := range vm.conns {
		_ = c.Close()
	}
	clear(vm.conns)
}

// PowerButton asks the guest to shut down.
func (vm *VM) PowerButton(context.Context) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.over {
		return hv.ErrGone
	}
	vm.shutdownLocked()
	return nil
}

func (vm *VM) shutdownLocked() {
	if vm.script.IgnoreShutdown || vm.shutting {
		return
	}
	vm.shutting = true
	vm.laterLocked(vm.script.ShutdownTakes, func() { vm.end(hv.Exit{Cause: hv.ExitPoweredOff}) })
}

// Kill ends the VM.
func (vm *VM) Kill(context.Context) error {
	vm.end(hv.Exit{Cause: hv.ExitKilled, Status: -1})
	return nil
}

// AllowReboot makes a reset of the guest a reboot.
func (vm *VM) AllowReboot(context.Context) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.over {
		return hv.ErrGone
	}
	vm.reboots = true
	return nil
}

// Pause has new connections wait. What is open goes on, and so does the script.
func (vm *VM) Pause(context.Context) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	switch {
	case vm.over:
		return hv.ErrGone
	case vm.resumed == nil:
		vm.resumed = make(chan struct{})
		vm.sayLocked(hv.Event{Kind: hv.EventPaused, Why: "as it was told"})
	}
	return nil
}

// Resume lets them in.
func (vm *VM) Resume(context.Context) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	switch {
	case vm.over:
		return hv.ErrGone
	case vm.goOnLocked():
		vm.sayLocked(hv.Event{Kind: hv.EventResumed})
	}
	return nil
}

// goOnLocked tells whether it was paused.
func (vm *VM) goOnLocked() bool {
	if vm.resumed == nil {
		return false
	}
	close(vm.resumed)
	vm.resumed = nil
	return true
}

// GrowDisk makes the disk's file larger; nobody has to be told.
func (vm *VM) GrowDisk(_ context.Context, serial string, size int64) error {
	i, err := hv.Growable(vm.spec.Disks, serial, size)
	if err != nil {
		return err
	}
	vm.mu.Lock() // one at a time, and none behind the end
	defer vm.mu.Unlock()
	if vm.over {
		return hv.ErrGone
	}
	path := vm.spec.Disks[i].Path
	info, err := os.Stat(path)
	if err == nil && info.Size() < size {
		err = os.Truncate(path, size)
	}
	if err != nil {
		return fmt.Errorf("sim: grow disk: %w", err)
	}
	return nil
}

// newID makes a random UUID (version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// welcome checks the token, within a time.
func (vm *VM) welcome(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := wire.CheckPreface(c, vm.token); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}
