package qemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/console"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

const (
	maxEvents  = 64               // that wait for the VM host
	killWait   = 10 * time.Second // for a process to die that was killed
	abortGrace = time.Second      // for a QEMU whose QMP ended to be gone
	lastBytes  = 2 * time.Second  // to read what a dead QEMU left in its channels
)

// vm is one QEMU.
type vm struct {
	driver *Driver
	env    hv.Env
	accel  hv.Accel
	note   string // why this accelerator
	board  hv.Board
	disks  []hv.Disk
	nic    *hv.NIC
	from   string // what the guest was saved to; "" = it boots
	cid    hv.CID
	shares *shares
	vsock  channel
	dev    *vsock.Device // ours, nil where the guest's vsock is the kernel's
	vhost  *os.File      // then it is an open vhostDevice, until QEMU has it
	sock   net.Listener  // of CONNECT, or nil

	proc    *os.Process
	qmp     *qmpConn
	wires   *wires
	console *console.Watch
	output  *console.Tail
	streams sync.WaitGroup // the drains, vsock, the CONNECT socket

	events chan hv.Event
	grows  sync.Mutex // one GrowDisk at a time
	turns  sync.Mutex // one Pause, Resume or Save at a time
	held   bool       // by Pause; under turns
	plug   *plug
	saving atomic.Bool // what stops the guest is Save
	saved  atomic.Bool
	killed atomic.Bool
	ready  atomic.Bool      // AllowReboot was called
	state  *os.ProcessState // set before reaped is closed; nil = it could not be had
	reaped chan struct{}
	done   chan struct{} // nothing of this VM is left
}

var (
	_ hv.VM       = (*vm)(nil)
	_ hv.Rebooter = (*vm)(nil)

	_ hv.Accelerated = (*vm)(nil)
	_ hv.Grower      = (*vm)(nil)
	_ hv.Pauser      = (*vm)(nil)
	_ hv.Saver       = (*vm)(nil)
	_ hv.Sharer      = (*vm)(nil)
)

func newVM(d *Driver, spec hv.Spec, env hv.Env) *vm {
	env = env.Quiet()
	v := &vm{
		driver: d, env: env, accel: spec.Accel, note: spec.AccelNote, board: boardOf(spec), disks: spec.Disks, nic: spec.NIC,
		from: spec.Saved, cid: spec.CID, plug: newPlug(),
		shares:  &shares{},
		console: console.NewWatch(env.Console),
		output:  &console.Tail{},
		events:  make(chan hv.Event, maxEvents),
		reaped:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	if spec.Vsock == hv.VsockKernel {
		v.vsock = newKernelChannel(spec.CID, d.log)
		return v
	}
	v.dev = vsock.New(spec.CID, vsock.Options{Log: d.log})
	v.vsock = v.dev
	return v
}

// attach starts what serves a QEMU that has just been forked.
func (v *vm) attach(proc *os.Process, w *wires) {
	v.proc, v.wires = proc, w
	v.qmp = newQMP(w.qmp, v.driver.callTimeout)
	v.streams.Go(func() { console.Drain(v.output, w.output) })
	v.streams.Go(func() { console.Drain(v.console, w.console) })
	v.streams.Go(func() { console.Drain(v.env.AgentLog, w.log) })
	if v.dev != nil {
		v.streams.Go(func() {
			if err := v.dev.Serve(w.vsock); err != nil && v.alive(abortGrace) {
				v.env.Logf("qemu: the vsock device ended before the VM: %v", err)
			}
		})
	}
	if v.sock != nil {
		v.streams.Go(func() { _ = v.vsock.ServeConnect(v.sock) }) // ends with the device
	}
	go v.wait()
	go v.run()
}

// wait reaps QEMU and bounds the reading of what it left.
func (v *vm) wait() {
	state, err := v.proc.Wait()
	if err != nil {
		v.env.Logf("qemu: wait for QEMU: %v", err)
	}
	v.state = state
	end := time.Now().Add(lastBytes)
	for _, c := range []interface{ SetReadDeadline(time.Time) error }{v.wires.qmp, v.wires.console, v.wires.log, v.wires.output} {
		_ = c.SetReadDeadline(end)
	}
	close(v.reaped)
}

// alive gives QEMU a moment to be reaped.
func (v *vm) alive(grace time.Duration) bool {
	select {
	case <-v.reaped:
		return false
	case <-time.After(grace):
		return true
	}
}

// run owns the VM's story: it turns what QEMU says into events, and ends with
// the exit.
func (v *vm) run() {
	defer close(v.done)
	defer close(v.events)
	s := story{}
	said, reaped, lost := v.qmp.events, v.reaped, v.shares.lost
	var mute, room <-chan time.Time
	for said != nil || reaped != nil {
		select {
		case e, ok := <-said:
			if !ok {
				said, mute = nil, time.After(v.driver.callTimeout)
				continue
			}
			v.hear(&s, e)
			if room == nil {
				room = v.waiting(&s)
			}
		case <-room:
			if room = v.waiting(&s); room != nil {
				v.streams.Go(v.goOn)
			}
		case sh := <-lost:
			v.loseShare(sh)
		case <-mute:
			// A VM that nobody can steer is worse than none.
			s.fault = fmt.Sprintf("QEMU ended its QMP and lived on, so it was killed: %v", v.qmp.reason())
			_ = v.proc.Kill()
			mute = nil
		case <-reaped:
			reaped, mute = nil, nil
		}
	}
	v.shares.stop()
	v.closeSock()
	_ = v.vsock.Close()
	v.streams.Wait()
	v.wires.closeOurs()
	x := s.exit(v.ending())
	v.events <- hv.Event{Kind: hv.EventExit, Exit: &x, Time: x.Time} // say leaves room for it
}

func (v *vm) hear(s *story, e qmpEvent) {
	v.driver.log.Debug("qemu event", "pid", v.proc.Pid, "event", e.name, "reason", e.data.Reason)
	v.unplugged(e)
	out, ok := s.note(e)
	if !ok || v.saving.Load() && (out.Kind == hv.EventPaused || out.Kind == hv.EventResumed) {
		return
	}
	v.say(out)
}

func (v *vm) say(out hv.Event) {
	if len(v.events) >= maxEvents-1 {
		// Only a guest that resets without end gets here.
		v.driver.log.Warn("qemu event dropped: nobody takes them", "pid", v.proc.Pid, "event", out.Kind)
		return
	}
	v.events <- out
}

// ending gathers what is known of a QEMU that is reaped and read to the end.
func (v *vm) ending() ending {
	e := ending{
		status: -1, state: "its status could not be had",
		ready: v.ready.Load(), saved: v.saved.Load(), panic: v.console.PanicLine(), output: inPaths(v.output.LastLines(), v.disks), time: time.Now().UTC(),
	}
	if v.state != nil {
		e.status, e.state = v.state.ExitCode(), v.state.String()
		ws, ok := v.state.Sys().(syscall.WaitStatus)
		e.killed = ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL && v.killed.Load()
	}
	if e.output != "" {
		v.env.Logf("qemu: %s; QEMU's last words: %s", e.state, e.output)
	}
	return e
}

func (v *vm) closeSock() {
	if v.sock != nil {
		_ = v.sock.Close()
	}
}

// Events yields what the VM says, its exit last.
func (v *vm) Events() <-chan hv.Event { return v.events }

// PowerButton presses the ACPI power button.
func (v *vm) PowerButton(ctx context.Context) error {
	return v.command(ctx, "system_powerdown", nil)
}

// AllowReboot makes a reset of the guest a reboot, for the rest of this VM.
func (v *vm) AllowReboot(ctx context.Context) error {
	v.ready.Store(true)
	return v.command(ctx, "set-action", map[string]string{"reboot": "reset"})
}

// Accel says which accelerator runs the guest, and why that one.
func (v *vm) Accel() (hv.Accel, string) { return v.accel, v.note }

// Board says which board the guest got.
func (v *vm) Board() hv.Board { return v.board }

func (v *vm) command(ctx context.Context, name string, arguments any) error {
	err := v.qmp.call(ctx, name, arguments)
	if err != nil && v.qmp.over() {
		return fmt.Errorf("%w: %w", hv.ErrGone, err)
	}
	return err
}

// Kill ends QEMU with SIGKILL and awaits that it is reaped.
func (v *vm) Kill(ctx context.Context) error {
	v.killed.Store(true)
	_ = v.proc.Kill() // fails only where it is reaped already
	select {
	case <-v.reaped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hv/qemu: await the death of QEMU, pid %d: %w", v.proc.Pid, ctx.Err())
	}
}

// Dial connects to a vsock port of the guest.
func (v *vm) Dial(ctx context.Context, port uint32) (net.Conn, error) { return v.vsock.Dial(ctx, port) }

// Listen takes the guest's connections to a vsock port of the host.
func (v *vm) Listen(port uint32) (net.Listener, error) { return v.vsock.Listen(port) }
