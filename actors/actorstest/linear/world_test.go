package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// world is what outlives engines: locks, exit notes and VMs, in memory. It
// watches over the CIDs of the VMs that really live.
type world struct {
	mu       sync.Mutex
	dice     *rand.Rand
	machines map[string]*place // by id
	faults   []error
}

// place is a machine's directory and lock.
type place struct {
	held any // nil = the lock is free; else the *life or the *vm that holds it
	vm   *vm // the last one
}

type vm struct {
	launch string
	cid    uint32
	gone   chan struct{}
	exit   *actors.VMExit // its note; nil = it left none
}

func (v *vm) over() bool {
	select {
	case <-v.gone:
		return true
	default:
		return false
	}
}

// life is the world as one engine reaches it. What a killed engine does after
// its end reaches nothing.
type life struct {
	*world
	stopped chan struct{} // from here on its calls wait
	dead    chan struct{} // and fail
}

var errDead = errors.New("the engine was killed")

func newWorld(dice *rand.Rand) *world {
	return &world{dice: dice, machines: map[string]*place{}}
}

func (w *world) engine() *life {
	return &life{w, make(chan struct{}), make(chan struct{})}
}

// kill frees the locks that an engine holds, and a VM here and there dies with it.
func (l *life) kill() {
	close(l.dead)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.machines {
		if p.held == l {
			p.held = nil
		}
		if v, ok := p.held.(*vm); ok && l.dice.IntN(4) == 0 {
			l.end(p, v, nil)
		}
	}
}

// pause lets a little time pass; it fails where ctx or the engine is over.
func (l *life) pause(ctx context.Context, most time.Duration) error {
	l.mu.Lock()
	d := time.Duration(l.dice.Int64N(int64(most)))
	l.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.stopped:
	}
	select {
	case <-l.stopped:
		<-l.dead
		return errDead
	default:
		return nil
	}
}

// at is a machine's place, the world locked; the function unlocks it. It
// fails where the engine is over.
func (l *life) at(ref actors.Ref) (*place, func(), error) {
	l.mu.Lock()
	select {
	case <-l.stopped:
		l.mu.Unlock()
		<-l.dead
		return nil, nil, errDead
	default:
	}
	if l.machines[ref.ID] == nil {
		l.machines[ref.ID] = &place{}
	}
	return l.machines[ref.ID], l.mu.Unlock, nil
}

// end is the end of a VM, the world locked.
func (w *world) end(p *place, v *vm, exit *actors.VMExit) {
	if v.over() {
		return
	}
	v.exit = exit
	close(v.gone)
	if p.held == v {
		p.held = nil
	}
}

// lock is held by an engine.
type lock struct {
	l *life
	p *place
}

// Close implements actors.Lock.
func (k lock) Close() error {
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	if k.p.held == k.l {
		k.p.held = nil
	}
	return nil
}

// Prepare implements actors.Hosts.
func (l *life) Prepare(ctx context.Context, ref actors.Ref, _ fsm.Spec, _ []string) (actors.Lock, []fsm.DiskFormattedFact, error) {
	if err := l.pause(ctx, time.Millisecond); err != nil {
		return nil, nil, err
	}
	p, unlock, err := l.at(ref)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	if p.held != nil {
		return nil, nil, actors.ErrLockHeld
	}
	p.held = l
	return lock{l, p}, nil, nil
}

// Launch implements actors.Hosts.
func (l *life) Launch(ctx context.Context, ref actors.Ref, held actors.Lock, o actors.Order) (fsm.LaunchedFact, actors.Lock, error) {
	if err := l.pause(ctx, 3*time.Millisecond); err != nil {
		return fsm.LaunchedFact{}, held, err
	}
	p, unlock, err := l.at(ref)
	if err != nil {
		return fsm.LaunchedFact{}, held, err
	}
	defer unlock()
	if p.held != l {
		l.faults = append(l.faults, fmt.Errorf("machine %s is launched without its lock", ref.Name))
	}
	for id, other := range l.machines {
		if v, ok := other.held.(*vm); ok && v.cid == o.CID {
			l.faults = append(l.faults, fmt.Errorf("CID %d: %s is launched with it while a VM of %s has it", o.CID, ref.ID, id))
		}
	}
	p.vm = &vm{launch: o.Launch, cid: o.CID, gone: make(chan struct{})}
	p.held = p.vm
	return fsm.LaunchedFact{Driver: "scripted"}, nil, nil
}

// Look implements actors.Hosts.
func (l *life) Look(ctx context.Context, ref actors.Ref, launch string) (actors.Sight, error) {
	if err := l.pause(ctx, 2*time.Millisecond); err != nil {
		return actors.Sight{}, err
	}
	p, unlock, err := l.at(ref)
	if err != nil {
		return actors.Sight{}, err
	}
	defer unlock()
	switch held := p.held.(type) {
	case nil:
		p.held = l
		s := actors.Sight{Found: fsm.Free, Lock: lock{l, p}}
		if p.vm != nil && p.vm.launch == launch && p.vm.exit != nil {
			s.Found, s.Exit = fsm.FreeWithNote, p.vm.exit
		}
		return s, nil
	case *vm:
		s := actors.Sight{Found: fsm.HeldByOther, Launch: held.launch, CID: held.cid}
		if held.launch == launch {
			s.Found = fsm.HeldByThis
		}
		return s, nil
	}
	return actors.Sight{Found: fsm.HeldMute}, nil
}

// Watch implements actors.Hosts.
func (l *life) Watch(ctx context.Context, ref actors.Ref, launch string, each func(actors.VMEvent, string)) error {
	p, unlock, err := l.at(ref)
	if err != nil {
		return err
	}
	v := p.vm
	unlock()
	if v == nil || v.launch != launch {
		return errors.New("no such launch")
	}
	each(actors.VMAnswered, "")
	select {
	case <-v.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.dead:
		return errDead
	}
}

// Kill implements actors.Hosts. The end comes a little later.
func (l *life) Kill(ctx context.Context, ref actors.Ref) error {
	return l.ends(ctx, ref, &actors.VMExit{Cause: fsm.CauseKilled, Note: true})
}

func (l *life) ends(ctx context.Context, ref actors.Ref, exit *actors.VMExit) error {
	if err := l.pause(ctx, 5*time.Millisecond); err != nil {
		return err
	}
	p, unlock, err := l.at(ref)
	if err != nil {
		return err
	}
	defer unlock()
	if v, ok := p.held.(*vm); ok {
		l.end(p, v, exit)
	}
	return nil
}

// Ready implements actors.Guests.
func (l *life) Ready(ctx context.Context, _ actors.Ref) (fsm.ReadyFact, error) {
	return fsm.ReadyFact{AgentVersion: "1"}, l.pause(ctx, 5*time.Millisecond)
}

// Shutdown implements actors.Guests.
func (l *life) Shutdown(ctx context.Context, ref actors.Ref) error {
	return l.ends(ctx, ref, &actors.VMExit{Cause: fsm.CausePoweredOff, Note: true})
}

// Arm implements actors.Guests.
func (*life) Arm(context.Context, actors.Ref) error { return nil }

// Check implements actors.Guests.
func (*life) Check(context.Context, actors.Ref) error { return nil }

// Open implements actors.Guests.
func (*life) Open(context.Context, actors.Ref, uint32, *os.File) error {
	return errors.New("no guest has ports here")
}

// Delete implements actors.Dirs.
func (l *life) Delete(ctx context.Context, ref actors.Ref, held actors.Lock) error {
	if err := l.pause(ctx, 3*time.Millisecond); err != nil {
		return err
	}
	if held != nil {
		_ = held.Close()
	}
	_, unlock, err := l.at(ref)
	if err != nil {
		return err
	}
	defer unlock()
	delete(l.machines, ref.ID)
	return nil
}

// IDs implements actors.Dirs.
func (l *life) IDs(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id := range l.machines {
		ids = append(ids, id)
	}
	return ids, nil
}

// Tail implements actors.Dirs.
func (*life) Tail(actors.Ref) string { return "" }

// Log implements actors.Dirs.
func (*life) Log(context.Context, actors.Ref, string, int64, bool, net.Conn) error { return nil }

// Path implements actors.Dirs.
func (*life) Path(ref actors.Ref) (dir, run string) { return "/m/" + ref.ID, "/r/" + ref.RunTag }
