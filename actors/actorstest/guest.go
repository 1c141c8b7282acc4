package actorstest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

func well(vm *VM) bool { return vm != nil && !vm.Mute && !vm.Hung && !vm.Still }

// goes tells whether a VM's guest can be talked to, or there is none.
func goes(vm *VM) bool { return answers(vm) && (vm == nil || !vm.Still) }

// Hold has a guest held still, or go on.
func (w *World) Hold(ctx context.Context, ref actors.Ref, still bool) error {
	what := map[bool]string{true: " pause", false: " resume"}[still]
	if err := w.Gates.Wait(ctx, ref.Name+what); err != nil {
		return err
	}
	err := w.until(ctx, ref, answers)
	p := w.at(ref)
	switch {
	case err != nil:
	case p.vm == nil:
		err = errGone
	case p.vm.Never:
		err = actors.ErrNoPause
	case p.vm.Still != still:
		p.vm.Still = still
		p.vm.say(map[bool]actors.VMEvent{true: actors.VMPaused, false: actors.VMResumed}[still], "as it was told")
	}
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+what+"d")
	return err
}

// Save has a guest saved, and its VM ended.
func (w *World) Save(ctx context.Context, ref actors.Ref) error {
	if err := w.Gates.Wait(ctx, ref.Name+" suspend"); err != nil {
		return err
	}
	err := w.until(ctx, ref, func(vm *VM) bool {
		return answers(vm) && (vm == nil || !vm.Hung && w.scripts[ref.Name].Save != "hangs") // it has to help
	})
	p := w.at(ref)
	switch {
	case err != nil:
	case p.vm == nil:
		err = errGone
	case w.scripts[ref.Name].Save == "never":
		err = actors.ErrNoSave
	case p.vm.Still:
		err = errors.New("the guest is held still")
	default:
		p.saved, p.savedAt, p.wentOn = p.vm.Guest, p.runs, false
		if w.scripts[ref.Name].Save == "lingers" {
			break
		}
		w.end(p, &actors.VMExit{Cause: fsm.CauseSaved, Time: w.clock.Now()})
	}
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" suspended")
	if err == nil { // who does not wait any more does not hear of it
		err = context.Cause(ctx)
	}
	return err
}

// Ready implements actors.Guests.
func (w *World) Ready(ctx context.Context, ref actors.Ref) (fsm.ReadyFact, error) {
	err := w.until(ctx, ref, well)
	w.mu.Unlock()
	if err == nil {
		err = w.Gates.Wait(ctx, ref.Name+" ready")
	}
	if err != nil {
		return fsm.ReadyFact{}, fmt.Errorf("await agent: %w", err)
	}
	return fsm.ReadyFact{AgentVersion: "1"}, nil
}

// Booted is when the init of a machine's image is ready.
func (w *World) Booted(ctx context.Context, ref actors.Ref) (fsm.BootedFact, error) {
	err := w.until(ctx, ref, well)
	untold := w.scripts[ref.Name].Boot == "untold"
	w.mu.Unlock()
	if err == nil {
		err = w.Gates.Wait(ctx, ref.Name+" booted")
	}
	if err == nil && untold {
		err = actors.ErrNeverTold
	}
	return fsm.BootedFact{Init: "/sbin/init"}, err
}

// Grow makes a machine's disk larger while its VM runs.
func (w *World) Grow(ctx context.Context, ref actors.Ref, size int64) error {
	err := w.until(ctx, ref, well)
	if p := w.at(ref); err == nil && p.vm != nil {
		p.vm.Disk = max(p.vm.Disk, size)
	}
	w.mu.Unlock()
	if err == nil {
		err = w.Gates.Wait(ctx, ref.Name+" grown")
	}
	return err
}

// Shares says how a VM's shares do: they are served together.
func (w *World) Shares(ctx context.Context, ref actors.Ref, spec fsm.Spec) ([]string, error) {
	err := w.until(ctx, ref, well)
	lost := err == nil && w.at(ref).vm.Lost
	w.mu.Unlock()
	if err == nil {
		err = w.Gates.Wait(ctx, ref.Name+" shares")
	}
	errs := make([]string, len(spec.Shares))
	for i := range errs {
		if lost {
			errs[i] = "its virtiofsd ended"
		}
	}
	return errs, err
}

// Arm implements actors.Guests.
func (w *World) Arm(context.Context, actors.Ref) error { return nil }

// Check implements actors.Guests.
func (w *World) Check(ctx context.Context, ref actors.Ref) error {
	err := w.until(ctx, ref, well)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.Gates.Wait(ctx, ref.Name+" checked")
}

// Shutdown implements actors.Guests.
func (w *World) Shutdown(ctx context.Context, ref actors.Ref) error {
	if err := w.Gates.Wait(ctx, ref.Name+" shutdown"); err != nil {
		return err
	}
	err := w.until(ctx, ref, goes)
	defer w.mu.Unlock()
	p := w.at(ref)
	switch {
	case err != nil:
		return err
	case p.vm == nil:
		return errGone
	case !p.vm.Ignores && !p.vm.Hung:
		w.end(p, &actors.VMExit{Cause: fsm.CausePoweredOff, Time: w.clock.Now()})
	}
	return nil
}

// Happens are the things that happen to a VM by themselves, by their name in
// scenarios.
var Happens = map[string]func(*World, *place){
	"poweroff": func(w *World, p *place) { w.end(p, &actors.VMExit{Cause: fsm.CausePoweredOff, Time: w.clock.Now()}) },
	"panic":    func(w *World, p *place) { w.end(p, &actors.VMExit{Cause: fsm.CauseGuestPanic, Time: w.clock.Now()}) },
	"crash": func(w *World, p *place) {
		w.end(p, &actors.VMExit{Cause: fsm.CauseCrashed, Status: 1, Time: w.clock.Now()})
	},
	"killed":   func(w *World, p *place) { w.end(p, nil) },
	"mute":     func(_ *World, p *place) { p.vm.Mute = true; p.vm.change() },
	"unmute":   func(_ *World, p *place) { p.vm.Mute = false; p.vm.change() },
	"hang":     func(_ *World, p *place) { p.vm.Hung = true; p.vm.change() },
	"unhang":   func(_ *World, p *place) { p.vm.Hung = false; p.vm.change() },
	"reboot":   func(_ *World, p *place) { p.vm.say(actors.VMRebooted, "") },
	"pause":    func(_ *World, p *place) { p.vm.say(actors.VMPaused, "io-error") },
	"resume":   func(_ *World, p *place) { p.vm.say(actors.VMResumed, "") },
	"listen":   func(w *World, p *place) { p.vm.Serves = true; w.linkChanged(p.name) },
	"unlisten": func(w *World, p *place) { p.vm.Serves = false; w.linkChanged(p.name) },
	"lose-share": func(_ *World, p *place) {
		p.vm.Lost = true
		p.vm.say(actors.VMShare, "share1")
	},
	// Another launch answers, in place of the one that ran if there was one.
	"other":      func(w *World, p *place) { w.usurp(p, false) },
	"other-mute": func(w *World, p *place) { w.usurp(p, true) },
}

// usurp puts a VM in a machine's place that nobody asked for. w.mu is held.
func (w *World) usurp(p *place, mute bool) {
	w.end(p, nil)
	cid := uint32(otherCID) // downwards: the engine, which goes upwards, can't know of it
	for _, o := range w.places {
		if o.vm != nil && o.vm.CID > otherCID/2 {
			cid = min(cid, o.vm.CID-1)
		}
	}
	p.vm = &VM{Launch: otherLaunch, CID: cid, Mute: mute, changed: make(chan struct{})}
}

// What the VM is called that nobody asked for.
const (
	otherLaunch = "00000000-0000-7000-8000-00000000ffff"
	otherCID    = 70000
)

func (vm *VM) say(e actors.VMEvent, why string) {
	vm.said = append(vm.said, said{e, why})
	vm.change()
}

// Happen lets something happen to a machine's VM. It tells whether it could.
func (w *World) Happen(name, what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.places {
		if p.name == name && p.dir && p.lock == nil && (p.vm != nil || strings.HasPrefix(what, "other")) {
			Happens[what](w, p)
			return true
		}
	}
	return false
}

// Lives is every VM, by the machine's id.
func (w *World) Lives() map[string]VM {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]VM{}
	for id, p := range w.places {
		if p.vm != nil {
			out[id] = *p.vm
		}
	}
	return out
}

// Left lists the directories and locks that there are.
func (w *World) Left() (dirs, locks []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.places {
		if p.hasDir() {
			dirs = append(dirs, p.name)
		}
		if p.lock != nil {
			locks = append(locks, p.name)
		}
	}
	return dirs, locks
}

// nameAt is the name of the machine with a directory.
func (w *World) nameAt(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.places[id]; p != nil {
		return p.name
	}
	return ""
}
