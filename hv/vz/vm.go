package vz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/console"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

const (
	maxEvents   = 64               // that wait for the VM host
	lastBytes   = 2 * time.Second  // to read what an ended VM left in its consoles
	connectTime = 10 * time.Second // for a client of the CONNECT socket to reach the guest
	abortTime   = 5 * time.Second  // to stop a VM whose start was given up
)

// vm is one VM of the framework.
type vm struct {
	driver  *Driver
	env     hv.Env
	machine machine
	config  config
	from    string // what its guest was saved to, from which it goes on; "" = it boots
	ends    *ends
	link    *link              // nil = no network
	hangUp  context.CancelFunc // ends the clients of the CONNECT socket; nil = there is none
	sockets *sockets
	console *console.Watch
	shares  []hv.ShareState
	streams sync.WaitGroup // the consoles' and the network's

	events chan hv.Event
	killed atomic.Bool
	saved  atomic.Bool
	hush   chan bool     // whether the next pause is nobody's business
	turns  chan struct{} // holds one token: a pause, a resume or a save is under way
	stops  chan struct{} // holds one token: one stop is under way at a time
	over   chan struct{} // closed when the framework says that it has ended
	done   chan struct{} // nothing of this VM is left
}

var (
	_ hv.VM     = (*vm)(nil)
	_ hv.Pauser = (*vm)(nil)
	_ hv.Saver  = (*vm)(nil)
	_ hv.Sharer = (*vm)(nil)
)

func newVM(d *Driver, env hv.Env) *vm {
	env = env.Quiet()
	return &vm{
		driver: d, env: env, console: console.NewWatch(env.Console),
		events: make(chan hv.Event, maxEvents), stops: make(chan struct{}, 1), hush: make(chan bool), turns: make(chan struct{}, 1), over: make(chan struct{}), done: make(chan struct{}),
	}
}

// launch starts the VM, and what serves it before: a console that is not read
// stops its guest. On an error nothing is left.
func (v *vm) launch(ctx context.Context) error {
	v.streams.Go(func() { console.Drain(v.console, v.ends.console) })
	v.streams.Go(func() { console.Drain(v.env.AgentLog, v.ends.log) })
	if v.link != nil {
		v.link.guest = v.ends.network
		v.streams.Go(v.link.run)
	}
	begun := time.Now()
	op, start := "start", func(ctx context.Context) error {
		return await(ctx, func() error { return v.machine.Do(deedStart, "") })
	}
	if v.from != "" {
		op, start = fmt.Sprintf("go on from the saved guest %q", v.from), v.restore
	}
	err := start(ctx)
	if err == nil {
		v.env.Logf("vz: the VM runs after %s", time.Since(begun).Round(time.Millisecond))
		go v.run()
		return nil
	}
	if stopErr := v.stopFailed(); stopErr != nil {
		err = errors.Join(err, stopErr)
	}
	v.clear()
	return explain(op, err, v.driver.program)
}

// stopFailed stops a VM that may have started behind the back of a start that
// failed, or took too long.
func (v *vm) stopFailed() error {
	if !v.machine.May(deedStop) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	return await(ctx, func() error { return v.machine.Do(deedStop, "") })
}

// await calls the framework, and waits for it as long as ctx lasts.
func await(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the framework did not answer: %w", ctx.Err())
	}
}

// run owns the VM's story: it is the one reader of its states, and ends with the
// exit.
func (v *vm) run() {
	defer close(v.done)
	defer close(v.events)
	s := story{last: stateRunning, hushed: v.from != ""}
	halted := v.console.Halted()
	for !s.last.over() {
		select {
		case st := <-v.machine.States():
			v.env.Logf("vz: the VM is %s", st)
			if e, ok := s.note(st); ok {
				v.say(e)
			}
		case s.hushed = <-v.hush:
		case <-halted:
			halted = nil
			if e, ok := s.panic(); ok {
				v.say(e)
			}
			go v.stopHalted()
		}
	}
	close(v.over)
	v.clear()
	x := s.exit(ending{killed: v.killed.Load(), saved: v.saved.Load(), panic: v.console.PanicLine(), time: time.Now().UTC()})
	v.events <- hv.Event{Kind: hv.EventExit, Exit: &x, Time: x.Time} // say leaves room for it
}

// stopHalted ends a VM whose kernel has stopped for ever.
func (v *vm) stopHalted() {
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	if err := v.stop(ctx); err != nil {
		v.env.Logf("vz: stop the VM after its kernel's panic: %v", err)
	}
}

// clear ends all that served the VM, in the order in which nothing waits for what
// is gone: sockets, network, consoles.
func (v *vm) clear() {
	if v.hangUp != nil {
		v.hangUp()
	}
	v.sockets.end()
	v.abandon()
}

// abandon closes the wires, lets what is in the consoles be read, and waits for all
// that served the VM.
func (v *vm) abandon() {
	if v.ends != nil {
		_ = v.ends.console.SetReadDeadline(time.Now().Add(lastBytes))
		_ = v.ends.log.SetReadDeadline(time.Now().Add(lastBytes))
		v.ends.hangUp()
		if v.ends.network != nil {
			_ = v.ends.network.Close()
		}
	}
	if v.link != nil {
		v.link.close()
	}
	v.streams.Wait()
	if v.ends != nil {
		v.ends.close()
	}
}

// connector serves the CONNECT socket, by which other programs dial the guest.
func (v *vm) connector(dir string) error {
	l, err := process.Listen(dir, hv.VsockSocket)
	if err != nil {
		return fmt.Errorf("hv/vz: %w", err)
	}
	var life context.Context
	life, v.hangUp = context.WithCancel(context.Background())
	serve := vsock.Connector{Dial: v.Dial, MaxConns: maxConns, Timeout: connectTime, Log: slog.New(slog.DiscardHandler)}
	v.streams.Go(func() { _ = serve.Serve(life, l) }) // ends with life
	return nil
}

func (v *vm) say(e hv.Event) {
	if len(v.events) >= maxEvents-1 {
		v.env.Logf("vz: event %s dropped: nobody takes them", e.Kind)
		return
	}
	v.events <- e
}

// Events yields what the VM says, its exit last.
func (v *vm) Events() <-chan hv.Event { return v.events }

// Shares says how the shares did when the VM started: the framework tells of none
// later.
func (v *vm) Shares() []hv.ShareState { return append([]hv.ShareState(nil), v.shares...) }

// PowerButton asks the guest to shut down.
func (v *vm) PowerButton(ctx context.Context) error {
	err := v.do(ctx, deedAsk)
	if errors.Is(err, errNotNow) {
		return fmt.Errorf("hv/vz: the framework can't ask this guest to stop: %w", hv.ErrUnsupported)
	}
	return err
}

// Pause holds the guest still.
func (v *vm) Pause(ctx context.Context) error { return v.turn(ctx, deedPause, deedResume) }

// Resume lets it go on.
func (v *vm) Resume(ctx context.Context) error { return v.turn(ctx, deedResume, deedPause) }

// turn does a deed, unless only its opposite is left to do.
func (v *vm) turn(ctx context.Context, d, opposite deed) error {
	if err := v.take(ctx); err != nil {
		return err
	}
	defer v.give()
	err := v.do(ctx, d)
	if errors.Is(err, errNotNow) && v.machine.May(opposite) {
		return nil
	}
	return err
}

// take has whoever holds the guest still, lets it go on or saves it be the only one, and
// give ends that.
func (v *vm) take(ctx context.Context) error {
	select {
	case v.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hv/vz: the VM is busy: %w", ctx.Err())
	}
}

func (v *vm) give() { <-v.turns }

// errNotNow is the answer of a VM that can't be told that in the state of now.
var errNotNow = errors.New("hv/vz: not in this state of the VM")

// do tells the VM something, if it can be told. The framework may not survive what
// is told to a VM that has ended.
func (v *vm) do(ctx context.Context, d deed) error {
	switch {
	case v.isOver():
		return hv.ErrGone
	case !v.machine.May(d):
		return fmt.Errorf("%w: %s", errNotNow, d)
	}
	err := await(ctx, func() error { return v.machine.Do(d, "") })
	if err != nil && v.isOver() {
		return hv.ErrGone
	}
	return explain(string(d), err, v.driver.program)
}

func (v *vm) isOver() bool {
	select {
	case <-v.over:
		return true
	default:
		return false
	}
}

// Kill stops the VM without its guest's help, and awaits that it has ended.
func (v *vm) Kill(ctx context.Context) error {
	v.killed.Store(true)
	return v.stop(ctx)
}

// stop stops it, unless it has ended, ends meanwhile, or is being stopped already.
func (v *vm) stop(ctx context.Context) error {
	select {
	case v.stops <- struct{}{}:
		err := v.do(ctx, deedStop)
		<-v.stops
		if err != nil && !errors.Is(err, errNotNow) && !errors.Is(err, hv.ErrGone) {
			return err
		}
	default:
	}
	select {
	case <-v.over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hv/vz: await the end of the VM: %w", ctx.Err())
	}
}

// Dial connects to a vsock port of the guest.
func (v *vm) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	return v.sockets.dial(ctx, port)
}

// Listen takes the guest's connections to a vsock port of the host.
func (v *vm) Listen(port uint32) (net.Listener, error) { return v.sockets.listen(port) }
