package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// nothingLeft checks that a directory has no file of a saved guest.
func nothingLeft(t *testing.T, path string) {
	t.Helper()
	for _, p := range []string{path, path + ".new"} {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestSave(t *testing.T) {
	s := newStage(t, "saves")
	path := filepath.Join(s.spec.Dir, "saved")
	if err := os.WriteFile(path+".new", []byte("of a save that was cut off"), 0o644); err != nil {
		t.Fatal(err)
	}
	v := s.start(t, Options{})
	if err := v.(hv.Saver).Save(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if kinds, exit := end(t, v); exit.Cause != hv.ExitSaved || len(kinds) > 0 {
		t.Fatalf("events %v, exit %+v", kinds, exit)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if err := v.(hv.Saver).Save(t.Context(), path+"2"); !errors.Is(err, hv.ErrGone) {
		t.Errorf("save of the dead: %v", err)
	}
	nothingLeft(t, path+"2")
}

// A guest that could not be saved has its device back and goes on.
func TestSaveFails(t *testing.T) {
	s := newStage(t, "save-fails")
	path := filepath.Join(s.spec.Dir, "saved")
	v := s.start(t, Options{})
	if err := v.(hv.Saver).Save(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("error %v", err)
	}
	if _, exit := end(t, v); exit.Cause != hv.ExitPoweredOff {
		t.Fatalf("exit %+v", exit)
	}
	nothingLeft(t, path)
}

// A device that comes off when nobody waits for that any more is plugged in again.
func TestUnplugThatNobodyWaitsFor(t *testing.T) {
	s := newStage(t, "unplugs-late")
	path := filepath.Join(s.spec.Dir, "saved")
	v := s.start(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	saved := make(chan error, 1)
	go func() { saved <- v.(hv.Saver).Save(ctx, path) }()
	s.console.await(t, "not now")
	cancel()
	if err := <-saved; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if err := v.PowerButton(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, exit := end(t, v); exit.Cause != hv.ExitPoweredOff {
		t.Fatalf("exit %+v", exit)
	}
	nothingLeft(t, path)
}

func TestSaveRefuses(t *testing.T) {
	s := newStage(t, "hang")
	v := s.start(t, Options{})
	if err := v.(hv.Saver).Save(t.Context(), filepath.Join(s.spec.Dir, "no", "saved")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to a directory that is not there: %v", err)
	}
}

// A saved guest is good once, and only where it was read.
func TestGoOnFromSaved(t *testing.T) {
	for _, how := range []string{"completed", "failed"} {
		t.Run(how, func(t *testing.T) {
			s := newStage(t, how)
			s.spec.Version, s.spec.Saved = hv.SpecVersionSaved, filepath.Join(s.spec.Dir, "saved")
			if err := os.WriteFile(s.spec.Saved, []byte("guest"), 0o600); err != nil {
				t.Fatal(err)
			}
			v, err := New(Options{}).Start(t.Context(), s.spec, s.env)
			_, there := os.Stat(s.spec.Saved)
			if how == "failed" {
				if err == nil || there != nil {
					t.Fatalf("error %v, the file: %v", err, there)
				}
				return
			}
			if err != nil || !errors.Is(there, fs.ErrNotExist) {
				t.Fatalf("error %v, the file: %v", err, there)
			}
			if err := v.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if kinds, exit := end(t, v); exit.Cause != hv.ExitKilled || slices.Contains(kinds, hv.EventPaused) {
				t.Fatalf("events %v, exit %+v", kinds, exit)
			}
		})
	}
}
