package actorstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// setUpHangs is a script that does not end, and setUpUnkept one that the disk has
// no room for.
const (
	setUpHangs  = "hangs"
	setUpUnkept = "unkept"
)

var errNoRoom = errors.New("no space left on device")

// setUps is what a machine's root knows of its set-ups. It lives as long as the
// root: with the data disk, or with the VM where there is none.
type setUps struct {
	begun  map[int]string // by round: the launch that ran the script
	ended  map[int]fsm.ProvisionedFact
	script string // digest of what is kept in the machine's directory
}

func (s setUps) clone() setUps {
	s.begun, s.ended = maps.Clone(s.begun), maps.Clone(s.ended)
	return s
}

// forget is what the end of a VM does to a root that is memory.
func (s *setUps) forget() { s.begun, s.ended = nil, nil }

// Keep implements actors.Provisions.
func (w *World) Keep(ctx context.Context, ref actors.Ref, text []byte) error {
	if err := w.Gates.Wait(ctx, ref.Name+" keep"); err != nil {
		return err
	}
	w.mu.Lock()
	digest := sha256.Sum256(text)
	w.at(ref).setUps.script = hex.EncodeToString(digest[:])
	unkept := w.scripts[ref.Name].Setup == setUpUnkept
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" kept")
	if unkept {
		return errNoRoom
	}
	return nil
}

// Forget implements actors.Provisions.
func (w *World) Forget(ctx context.Context, ref actors.Ref) error {
	if err := w.Gates.Wait(ctx, ref.Name+" forget"); err != nil {
		return err
	}
	w.mu.Lock()
	if !w.at(ref).dir {
		delete(w.places, ref.ID)
	}
	w.mu.Unlock()
	_ = w.Gates.Wait(context.WithoutCancel(ctx), ref.Name+" forgotten")
	return nil
}

// Provision implements actors.Provisions. The gate in its middle is the script at
// work, which goes on whatever becomes of the engine.
func (w *World) Provision(ctx context.Context, ref actors.Ref, p fsm.Provision) (fsm.ProvisionedFact, error) {
	err := w.until(ctx, ref, well)
	w.mu.Unlock()
	if err == nil {
		err = w.Gates.Wait(ctx, ref.Name+" set up")
	}
	if err != nil {
		return fsm.ProvisionedFact{}, err
	}
	w.mu.Lock()
	place := w.at(ref)
	if place.vm == nil {
		w.mu.Unlock()
		return fsm.ProvisionedFact{}, errGone
	}
	s, launch := &place.setUps, place.vm.Launch
	if s.script != p.Digest {
		w.breach("%s: its script is %q, it was created with %q", ref.Name, s.script, p.Digest)
	}
	if by, begun := s.begun[p.Round]; !begun {
		if s.begun == nil {
			s.begun, s.ended = map[int]string{}, map[int]fsm.ProvisionedFact{}
		}
		s.begun[p.Round] = launch
	} else if _, ended := s.ended[p.Round]; by != launch && !ended {
		s.ended[p.Round] = fsm.ProvisionedFact{Interrupted: true, Error: "the machine ended before the script did"}
	}
	w.mu.Unlock()
	err = w.until(ctx, ref, func(vm *VM) bool { return vm == nil || w.scripts[ref.Name].Setup != setUpHangs })
	script := w.scripts[ref.Name].Setup
	w.mu.Unlock()
	if err != nil {
		return fsm.ProvisionedFact{}, err
	}
	if err := w.Gates.Wait(ctx, ref.Name+" setting up"); err != nil {
		return fsm.ProvisionedFact{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if place.vm == nil || place.vm.Launch != launch {
		return fsm.ProvisionedFact{}, errGone
	}
	f, ended := s.ended[p.Round]
	if !ended {
		if script == "fails" {
			f = fsm.ProvisionedFact{Status: 3, Tail: "the output of " + ref.Name}
		}
		s.ended[p.Round] = f
	}
	return f, nil
}

// canSetUp tells whether a set-up of a machine can have a result.
func (w *World) canSetUp(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[id]
	return p != nil && well(p.vm) && w.scripts[p.name].Setup != setUpHangs
}
