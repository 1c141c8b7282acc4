package actorstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// World is a scripted host: directories, locks, VM hosts and guests, by
// machine. It outlives engines. All that an engine does to it passes the gates.
type World struct {
	Gates *Gates

	mu      sync.Mutex
	clock   *Clock
	places  map[string]*place // by machine id
	scripts map[string]Script // by machine name
	owners  map[string]bool   // those that have ended
	ended   chan struct{}     // closed when one more has
	net     netd
	broken  []string // what must never happen, and did
}

// The faces of the world.
var (
	_ actors.Hosts  = (*World)(nil)
	_ actors.Guests = (*World)(nil)
	_ actors.Dirs   = (*World)(nil)
	_ actors.Owners = (*World)(nil)

	_ actors.Provisions = (*World)(nil)
	_ actors.Disks      = (*World)(nil)
)

// Script is how the VMs of one machine behave. The zero value is a good one.
type Script struct {
	Launch string // "fails": the VM host ends at once; "leaves": and something holds on to the lock; "odd-taken": a stranger has all odd CIDs; "taken": and all others
	Boot   string // "hangs": its agent never answers; "hangs-once": the first launch's does not; "untold": it does, and never says that its init is ready
	Stop   string // "ignored": a shutdown is
	Share  string // "lost": nobody serves it from the start
	Copy   string // "full": there is no room for a copy of its disk
	Pause  string // "never": its VMs can't be paused
	Save   string // "never": its guests can't be saved; "hangs": that takes for ever; "lingers": they are, and their VMs do not end
	Setup  string // "fails": its script does; "hangs": it never ends; "unkept": there is no room for it
}

// place is what one machine has on the host.
type place struct {
	name     string
	dir      bool
	lock     *lock // held by the engine
	vm       *VM   // holds the lock otherwise
	note     *actors.VMExit
	noteOf   string // launch
	launches int
	disk     string // none, empty or used
	saved    string // the guest that was saved; "" = none
	wentOn   bool   // the last one
	savedAt  int    // of runs, then
	runs     int    // how many VMs could write to its disk
	unowned  bool   // no record knows of it
	setUps   setUps
}

// What is on a data disk.
const (
	diskEmpty = "empty"
	diskUsed  = "used"
)

// VM is one VM with its VM host.
type VM struct {
	Launch  string
	CID     uint32
	Mute    bool   // its VM host does not answer
	Hung    bool   // its agent does not answer
	Ignores bool   // shutdowns
	Disk    int64  // what its own disk was made as large as
	Lost    bool   // who served its share has ended
	Serves  bool   // its guest listens at a port
	Still   bool   // its guest is held still
	Never   bool   // it can't be
	Guest   string // the launch at which it booted
	said    []said
	ended   bool
	changed chan struct{} // closed at the next change
}

type said struct {
	event actors.VMEvent
	why   string
}

// NewWorld is a host on which nothing runs.
func NewWorld(c *Clock) *World {
	return &World{
		Gates: &Gates{}, clock: c, places: map[string]*place{}, scripts: map[string]Script{}, owners: map[string]bool{}, ended: make(chan struct{}),
		net: newNetd(),
	}
}

// clone is what is left of the world when the engine dies: its locks are free,
// everything else stays.
func (w *World) clone(c *Clock) *World {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := NewWorld(c)
	for name, s := range w.scripts {
		o.scripts[name] = s
	}
	maps.Copy(o.owners, w.owners)
	for id, p := range w.places {
		q := *p
		q.lock = nil
		q.setUps = p.setUps.clone()
		if p.vm != nil {
			vm := *p.vm
			vm.said, vm.changed = nil, make(chan struct{}) // what came before is another engine's to record
			q.vm = &vm
		}
		o.places[id] = &q
	}
	o.net = w.net.clone()
	o.broken = slices.Clone(w.broken)
	return o
}

// Script says how a machine's next launches behave.
func (w *World) Script(name string, s Script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scripts[name] = s
	for _, p := range w.places {
		if p.name == name && p.vm != nil {
			p.vm.change() // a set-up may go on
		}
	}
}

// Broken lists what must never happen, and did.
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.broken)
}

// breach notes that a rule was broken. w.mu is held.
func (w *World) breach(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// at is a machine's place. w.mu is held.
func (w *World) at(ref actors.Ref) *place {
	p := w.places[ref.ID]
	if p == nil {
		p = &place{}
		w.places[ref.ID] = p
	}
	p.name = ref.Name // it may have been renamed
	return p
}

// lock is a machine's lock in the hands of the engine.
type lock struct {
	w *World
	p *place
}

// Close implements actors.Lock.
func (l *lock) Close() error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.p.lock == l {
		l.p.lock = nil
	}
	return nil
}

// take takes a free lock. w.mu is held.
func (w *World) take(p *place) *lock {
	if p.vm != nil || p.lock != nil {
		return nil
	}
	p.lock = &lock{w, p}
	return p.lock
}

// Prepare implements actors.Hosts.
func (w *World) Prepare(ctx context.Context, ref actors.Ref, spec fsm.Spec, formatted []string) (actors.Lock, []fsm.DiskFormattedFact, error) {
	if err := w.Gates.Wait(ctx, ref.Name+" prepare"); err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	p := w.at(ref)
	p.dir = true
	l := w.take(p)
	var made []fsm.DiskFormattedFact
	if l != nil && spec.Disk > 0 {
		made = w.format(p, ref, spec, formatted)
	}
	w.mu.Unlock()
	if l == nil {
		return nil, nil, actors.ErrLockHeld
	}
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" prepared") // what was done is done
	return l, made, nil
}

// format makes a machine's data disk, where the journal does not say that it was
// made. What a guest may have written to is never made again. w.mu is held.
func (w *World) format(p *place, ref actors.Ref, spec fsm.Spec, formatted []string) []fsm.DiskFormattedFact {
	known := slices.Contains(formatted, fsm.DataDisk)
	switch {
	case known && p.disk == "":
		w.breach("%s: its disk is gone", ref.Name)
	case !known && p.disk == diskUsed:
		w.breach("%s: its disk is formatted again", ref.Name)
	}
	if known {
		return nil
	}
	p.disk = diskEmpty
	return []fsm.DiskFormattedFact{{Disk: fsm.DataDisk, Size: spec.Disk}}
}

// errLaunch is what a VM host says that does not come up.
var errLaunch = errors.New("the hypervisor ended at once")

// Launch implements actors.Hosts.
func (w *World) Launch(ctx context.Context, ref actors.Ref, held actors.Lock, o actors.Order) (fsm.LaunchedFact, actors.Lock, error) {
	if err := w.Gates.Wait(ctx, ref.Name+" launch"); err != nil {
		return fsm.LaunchedFact{}, held, err
	}
	back, err := w.launch(ref, held.(*lock), o)
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" launched")
	if back == nil { // never a nil *lock in an interface
		return fsm.LaunchedFact{Driver: "scripted", Version: "1"}, nil, err
	}
	return fsm.LaunchedFact{}, back, err
}

func (w *World) launch(ref actors.Ref, held *lock, o actors.Order) (*lock, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.at(ref)
	if p.lock != held || p.vm != nil {
		w.breach("%s: launched without its lock", ref.Name)
	}
	for _, other := range w.places {
		if other.vm != nil && other.vm.CID == o.CID {
			w.breach("%s and %s: two VMs with CID %d", ref.Name, other.name, o.CID)
		}
	}
	if o.Spec.Disk > 0 {
		if p.disk == "" {
			w.breach("%s: launched without its disk", ref.Name)
		}
		p.disk = diskUsed
	}
	p.launches++
	s, guest := w.scripts[ref.Name], o.Launch
	if o.Saved && p.saved == "" && !p.wentOn {
		w.breach("%s: it is to go on, and no guest was saved", ref.Name)
	}
	if !o.Saved {
		p.saved, p.wentOn = "", false
	} else if guest = p.saved; p.saved != "" && p.savedAt != p.runs {
		w.breach("%s: its guest goes on, and is older than its disk", ref.Name)
	}
	switch {
	case guest == "":
		return held, errors.New("its saved guest is not there")
	case s.Launch == "fails":
		return held, errLaunch
	case s.Launch == "taken" || s.Launch == "odd-taken" && o.CID%2 == 1:
		return held, fmt.Errorf("CID %d: %w", o.CID, actors.ErrCIDTaken)
	}
	p.lock, p.note, p.saved, p.wentOn = nil, nil, "", o.Saved
	p.runs++
	p.vm = &VM{
		Guest:  guest,
		Launch: o.Launch, CID: o.CID, Ignores: s.Stop == "ignored", changed: make(chan struct{}),
		Never: s.Pause == "never",
		Lost:  s.Share == "lost", Hung: s.Boot == "hangs" || s.Boot == "hangs-once" && p.launches == 1,
	}
	if s.Launch == "leaves" {
		p.vm.Mute = true
		return nil, errLaunch
	}
	return nil, nil
}

// end ends a VM, with an exit note or without. w.mu is held.
func (w *World) end(p *place, exit *actors.VMExit) {
	vm := p.vm
	if vm == nil {
		return
	}
	p.vm = nil
	if p.disk == "" {
		p.setUps.forget()
	}
	if exit != nil {
		p.note, p.noteOf = exit, vm.Launch
	}
	vm.ended = true
	vm.change()
	w.linkChanged(p.name)
}

func (vm *VM) change() {
	close(vm.changed)
	vm.changed = make(chan struct{})
}

// muteTime bounds a call to a VM host that does not answer.
const muteTime = 10 * time.Second

// until waits until what holds of a machine's VM, or ctx is over. It returns
// with w.mu held.
func (w *World) until(ctx context.Context, ref actors.Ref, what func(*VM) bool) error {
	for {
		w.mu.Lock()
		vm := w.at(ref).vm
		if ctx.Err() != nil || what(vm) {
			return context.Cause(ctx)
		}
		var changed <-chan struct{} // without a VM nothing changes until ctx is over
		if vm != nil {
			changed = vm.changed
		}
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// limited is ctx with a time limit on the world's clock.
func (w *World) limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := w.clock.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { stop(); cancel(nil) }
}

func answers(vm *VM) bool { return vm == nil || !vm.Mute }

// Look implements actors.Hosts.
func (w *World) Look(ctx context.Context, ref actors.Ref, launch string) (actors.Sight, error) {
	if err := w.Gates.Wait(ctx, ref.Name+" look"); err != nil {
		return actors.Sight{}, err
	}
	_ = w.until(ctx, ref, answers)
	defer w.mu.Unlock()
	p := w.at(ref)
	switch vm := p.vm; {
	case vm != nil && vm.Mute:
		return actors.Sight{Found: fsm.HeldMute}, nil
	case vm != nil && vm.Launch == launch:
		return actors.Sight{Found: fsm.HeldByThis, Launch: launch, CID: vm.CID, Version: "1"}, nil
	case vm != nil:
		return actors.Sight{Found: fsm.HeldByOther, Launch: vm.Launch, CID: vm.CID, Version: "1"}, nil
	}
	l := w.take(p)
	if l == nil {
		return actors.Sight{Found: fsm.HeldMute}, nil // by this engine itself
	}
	s := actors.Sight{Found: fsm.Free, Lock: l}
	if p.note != nil && p.noteOf == launch {
		note := *p.note
		note.Note = true
		s.Found, s.Exit = fsm.FreeWithNote, &note
	}
	return s, nil
}

// errGone is a VM host that is not there.
var errGone = errors.New("nobody listens")

// Watch implements actors.Hosts.
func (w *World) Watch(ctx context.Context, ref actors.Ref, launch string, each func(actors.VMEvent, string)) error {
	if err := w.Gates.Wait(ctx, ref.Name+" watch"); err != nil {
		return err
	}
	limited, cancel := w.limited(ctx, muteTime)
	err := w.until(limited, ref, answers)
	vm := w.at(ref).vm
	w.mu.Unlock()
	cancel()
	if err == nil && (vm == nil || vm.Launch != launch) {
		err = errGone
	}
	if err == nil {
		err = w.Gates.Wait(ctx, ref.Name+" answered")
	}
	if err != nil {
		return err
	}
	each(actors.VMAnswered, "")
	for told := 0; ; {
		w.mu.Lock()
		news, ended, changed := slices.Clone(vm.said[told:]), vm.ended, vm.changed
		w.mu.Unlock()
		for _, s := range news {
			told++
			each(s.event, s.why)
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Kill implements actors.Hosts.
func (w *World) Kill(ctx context.Context, ref actors.Ref) error {
	if err := w.Gates.Wait(ctx, ref.Name+" kill"); err != nil {
		return err
	}
	w.mu.Lock()
	p := w.at(ref)
	if p.vm == nil && p.lock != nil {
		w.breach("%s: who holds its lock is to be killed, and that is this engine", ref.Name)
	}
	var exit *actors.VMExit
	if p.vm != nil && !p.vm.Mute { // a mute one is killed by the kernel's word, and notes nothing
		exit = &actors.VMExit{Cause: fsm.CauseKilled, Time: w.clock.Now()}
	}
	w.end(p, exit)
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" killed")
	return nil
}

// Open implements actors.Guests.
func (w *World) Open(context.Context, actors.Ref, uint32, *os.File) error { return errGone }
