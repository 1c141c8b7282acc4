package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

const (
	memoryVersion = 1
	maxMemory     = 4 << 10 // bytes of a file that has one
)

// memory is what a guest that is saved takes along.
type memory struct {
	Version  int           `json:"version"`
	Machine  string        `json:"machine"`
	Ran      time.Duration `json:"ran"` // since the start of the VM in which it booted
	Shutting bool          `json:"shutting,omitempty"`
	Agent    *identity     `json:"agent,omitempty"` // nil = it has not booted yet
}

// identity is what an agent has for as long as its guest does not boot anew.
type identity struct {
	ID     string        `json:"id"`
	BootID string        `json:"boot_id"`
	Up     time.Duration `json:"up"`
}

// Save writes what the guest remembers, and ends the VM.
func (vm *VM) Save(ctx context.Context, path string) error {
	if !vm.saving.CompareAndSwap(false, true) {
		return errors.New("sim: save: it is being saved already")
	}
	defer vm.saving.Store(false)
	taken := time.NewTimer(vm.script.SaveTakes)
	defer taken.Stop()
	select {
	case <-taken.C:
	case <-vm.ended:
		return hv.ErrGone
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sim: save: %w", err)
	}
	err := vm.endAfter(hv.Exit{Cause: hv.ExitSaved}, func() error { return vm.writeLocked(path) })
	if err != nil {
		return fmt.Errorf("sim: save: %w", err)
	}
	return nil
}

func (vm *VM) writeLocked(path string) error {
	switch {
	case vm.script.SaveFails:
		return errors.New("it failed, as the script says")
	case vm.resumed != nil:
		return errors.New("the guest is held still")
	case len(vm.spec.Shares) > 0:
		return fmt.Errorf("a guest with shares can't be saved: %w", hv.ErrUnsupported)
	}
	m := memory{Version: memoryVersion, Machine: vm.spec.Machine, Ran: time.Since(vm.begun), Shutting: vm.shutting}
	if a := vm.agent; a != nil {
		m.Agent = &identity{ID: a.id, BootID: a.bootID, Up: time.Since(a.begun)}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	name, err := hv.SavedStage(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	return errors.Join(hv.KeepSaved(f, path), f.Close())
}

// recall reads what a saved guest remembers, and removes it: it is good once.
func recall(spec hv.Spec) (memory, error) {
	f, err := os.OpenFile(spec.Saved, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return memory{}, fmt.Errorf("sim: saved guest: %w", err)
	}
	defer func() { _ = f.Close() }()
	var m memory
	if err := json.NewDecoder(io.LimitReader(f, maxMemory)).Decode(&m); err != nil {
		return memory{}, fmt.Errorf("sim: saved guest %q: %w", spec.Saved, err)
	}
	switch a := m.Agent; {
	case m.Version != memoryVersion:
		return memory{}, fmt.Errorf("sim: saved guest %q: version %d: this build reads %d", spec.Saved, m.Version, memoryVersion)
	case m.Machine != spec.Machine:
		return memory{}, fmt.Errorf("sim: saved guest %q: it is of machine %q", spec.Saved, m.Machine)
	case m.Ran < 0 || a != nil && (a.ID == "" || a.BootID == "" || a.Up < 0):
		return memory{}, fmt.Errorf("sim: saved guest %q: it makes no sense", spec.Saved)
	}
	return m, hv.DropSaved(spec.Saved)
}

// goOn has the guest go on where it was saved, with what its script has left for it.
func (vm *VM) goOn(m memory) {
	vm.begun = vm.begun.Add(-m.Ran)
	if m.Agent == nil {
		vm.boot()
	} else {
		vm.mu.Lock()
		vm.listenLocked(*m.Agent)
		vm.mu.Unlock()
	}
	if m.Shutting {
		_ = vm.PowerButton(context.Background()) // it has just begun
	}
	vm.schedule(m.Ran)
}
