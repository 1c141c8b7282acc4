package hvtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// testSave: a guest that can't be saved goes on; one that was goes on in another VM, and
// can be saved again.
func testSave(s *suite) {
	spec := s.Spec(s.T)
	vm := s.readyOf(spec)
	saver, ok := vm.(hv.Saver)
	if ok != s.Driver.Capabilities().Save {
		s.Fatalf("hv.Saver %v, Capabilities.Save %v", ok, s.Driver.Capabilities().Save)
	}
	if !ok {
		return
	}
	path := filepath.Join(s.TempDir(), "saved")
	s.unsaved(vm, saver, path)
	before := s.boot(vm)
	s.saved(vm, saver, path)

	spec.Version, spec.Saved = max(spec.Version, hv.SpecVersionSaved), path
	spec.Launch, spec.CID = spec.Launch+"-2", spec.CID+1
	s.staysSaved(path)
	vm = s.readyOf(spec)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("the file of a guest that went on: %v", err)
	}
	s.answers(vm, "a restore")
	if after := s.boot(vm); after != before {
		s.Errorf("the guest that went on is %q, not %q", after, before)
	}
	if _, err := s.Driver.Start(s.ctx(), spec, s.env()); err == nil {
		s.Error("a guest went on twice")
	}
	s.saved(vm, vm.(hv.Saver), path)
}

// unsaved: what can't be saved leaves the guest as it is, and no file.
func (s *suite) unsaved(vm hv.VM, saver hv.Saver, path string) {
	s.Helper()
	if err := saver.Save(s.ctx(), filepath.Join(path, "in", "no", "directory")); err == nil {
		s.Fatal("it is saved where nothing can be written")
	}
	if p, ok := vm.(hv.Pauser); ok {
		s.told(vm, hv.EventPaused, p.Pause)
		if err := saver.Save(s.ctx(), path); err == nil {
			s.Fatal("a guest that is held still is saved")
		}
		s.told(vm, hv.EventResumed, p.Resume)
	}
	s.nothingIn(filepath.Dir(path))
	s.answers(vm, "a save that failed")
}

// saved saves the guest, which ends its VM.
func (s *suite) saved(vm hv.VM, saver hv.Saver, path string) {
	s.Helper()
	if s.Saving != nil {
		go s.Saving(s.ctx(), vm)
	}
	if err := saver.Save(s.ctx(), path); err != nil {
		s.Fatalf("save: %v", err)
	}
	if exit := s.exit(vm); exit.Cause != hv.ExitSaved {
		s.Errorf("cause %q, want %q", exit.Cause, hv.ExitSaved)
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		s.Fatalf("the saved guest: %+v, %v", info, err)
	}
	if err := saver.Save(s.ctx(), path); !errors.Is(err, hv.ErrGone) {
		s.Errorf("save of the dead: %v, want hv.ErrGone", err)
	}
}

// staysSaved: a start that fails before the guest goes on leaves the file.
func (s *suite) staysSaved(path string) {
	s.Helper()
	spec := s.Failing(s.T)
	spec.Version, spec.Saved = max(spec.Version, hv.SpecVersionSaved), path
	if vm, err := s.Driver.Start(s.ctx(), spec, s.env()); err == nil {
		_ = vm.Kill(s.ctx())
		s.Fatal("it started")
	}
	if _, err := os.Lstat(path); err != nil {
		s.Errorf("the saved guest behind a start that failed: %v", err)
	}
}

func (s *suite) nothingIn(dir string) {
	s.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		s.Errorf("a save that failed left %v, %v", left, err)
	}
}

// boot is who the guest is; "" where it can't tell.
func (s *suite) boot(vm hv.VM) string {
	s.Helper()
	if s.Boot == nil {
		return ""
	}
	id, err := s.Boot(s.ctx(), vm)
	if err != nil || id == "" {
		s.Fatalf("who the guest is: %q, %v", id, err)
	}
	return id
}
