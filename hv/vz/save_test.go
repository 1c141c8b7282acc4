package vz

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// left are the names in a directory.
func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A save is a pause of which nobody hears, and so is the way back.
func TestSaveIsNoPause(t *testing.T) {
	r, f := newRig(t, nil)
	s, dir := specOf(t), t.TempDir()
	v := begin(t, f, s, hv.Env{})
	path := filepath.Join(dir, "saved")
	if err := v.(hv.Saver).Save(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if x, kinds := exitOf(t, v); x.Cause != hv.ExitSaved || !slices.Equal(kinds, []hv.EventKind{hv.EventExit}) {
		t.Errorf("%+v, %v", x, kinds)
	}
	if got := left(t, dir); !slices.Equal(got, []string{"saved", "saved.config"}) {
		t.Errorf("left: %q", got)
	}
	s.Version, s.Saved, s.CID, s.Cmdline = hv.SpecVersionSaved, path, 4, "of another day"
	v = begin(t, f, s, hv.Env{})
	if got := left(t, dir); len(got) > 0 {
		t.Errorf("behind the guest's going on: %q", got)
	}
	if err := v.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if x, kinds := exitOf(t, v); x.Cause != hv.ExitKilled || !slices.Equal(kinds, []hv.EventKind{hv.EventExit}) {
		t.Errorf("%+v, %v", x, kinds)
	}
	want := []deed{deedStart, deedPause, deedSave, deedStop, deedRestore, deedResume, deedStop}
	if told := r.deeds(); !slices.Equal(told, want) {
		t.Errorf("it was told %q, want %q", told, want)
	}
}

// What the framework refuses to save goes on, of which nobody hears either; a pause by a
// person does tell.
func TestSaveThatFails(t *testing.T) {
	for refused, told := range map[deed][]deed{
		deedSave:  {deedStart, deedPause, deedSave, deedResume, deedPause, deedStop},
		deedPause: {deedStart, deedPause, deedPause, deedStop},
	} {
		r, f := newRig(t, func(r *rig) { r.refuse = map[deed]error{refused: ErrOldSystem} })
		v, dir := begin(t, f, specOf(t), hv.Env{}), t.TempDir()
		err := v.(hv.Saver).Save(t.Context(), filepath.Join(dir, "saved"))
		if !errors.Is(err, ErrOldSystem) || !errors.Is(err, hv.ErrUnsupported) {
			t.Errorf("%s: %v", refused, err)
		}
		r.mu.Lock()
		r.refuse = nil
		r.mu.Unlock()
		if err := v.(hv.Pauser).Pause(t.Context()); err != nil {
			t.Errorf("%s: pause: %v", refused, err)
		}
		if e := <-v.Events(); e.Kind != hv.EventPaused {
			t.Errorf("%s: it says %+v", refused, e)
		}
		if err := v.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		exitOf(t, v)
		if got := r.deeds(); !slices.Equal(got, told) {
			t.Errorf("%s: it was told %q, want %q", refused, got, told)
		}
		if got := left(t, dir); len(got) > 0 {
			t.Errorf("%s: left: %q", refused, got)
		}
	}
}

// A save that nobody waits for any more, or that a kill overtakes, keeps nothing.
func TestSaveOvertaken(t *testing.T) {
	for name, overtake := range map[string]func(v hv.VM, cancel func()){
		"nobody waits": func(_ hv.VM, cancel func()) { cancel() },
		"killed":       func(v hv.VM, _ func()) { _ = v.Kill(over()) },
	} {
		answer := make(chan int)
		r, f := newRig(t, func(r *rig) { r.hold = map[deed]chan int{deedSave: answer} })
		v, dir := begin(t, f, specOf(t), hv.Env{}), t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- v.(hv.Saver).Save(ctx, filepath.Join(dir, "saved")) }()
		<-r.held
		if err := v.(hv.Pauser).Resume(over()); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a resume beside a save: %v", name, err)
		}
		overtake(v, cancel)
		close(answer)
		if err := <-done; err == nil {
			t.Errorf("%s: it was saved", name)
		}
		if err := v.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		if x, _ := exitOf(t, v); x.Cause != hv.ExitKilled {
			t.Errorf("%s: %+v", name, x)
		}
		if got := left(t, dir); len(got) > 0 {
			t.Errorf("%s: left: %q", name, got)
		}
	}
}

// over is a context that is.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// What can't be saved is refused by name, and nothing is told to the framework.
func TestSaveRefused(t *testing.T) {
	for want, change := range map[string]func(*hv.Spec, *framework){
		"Apple silicon": func(_ *hv.Spec, f *framework) { f.Saves = false },
		"shares": func(s *hv.Spec, _ *framework) {
			s.Shares = []hv.Share{{Tag: "share1", Path: filepath.Dir(s.Kernel)}}
		},
	} {
		r, f := newRig(t, nil)
		s := specOf(t)
		change(&s, &f)
		v := begin(t, f, s, hv.Env{})
		err := v.(hv.Saver).Save(t.Context(), filepath.Join(t.TempDir(), "saved"))
		if !errors.Is(err, hv.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if err := v.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		exitOf(t, v)
		if told := r.deeds(); !slices.Equal(told, []deed{deedStart, deedStop}) {
			t.Errorf("%s: it was told %q", want, told)
		}
	}
}

// A guest goes on in the VM that it had: what it was booted with, and who it is, come
// from its file, and what else is not as it was is named.
func TestAsSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "saved")
	was := config{Kernel: "/old", Initrd: "/i", Cmdline: "old", CPUs: 2, Memory: 1 << 30, Identity: []byte("me"), NIC: &nicConfig{MAC: "m", MTU: 1500}}
	text, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asSaved(was, path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no config: %v", err)
	}
	now := was
	now.Kernel, now.Initrd, now.Cmdline, now.Identity, now.NIC = "/new", "", "new", nil, &nicConfig{MAC: "m", MTU: 1500}
	other := now
	other.CPUs, other.Disks = 3, []diskConfig{{Path: "/d"}}
	for _, c := range []struct {
		text string
		now  config
		want string // "" = it goes on
	}{
		{string(text), now, ""}, {string(text), other, "had other cpus, disks:"}, {string(text[:9]), now, "unexpected EOF"},
	} {
		if err := os.WriteFile(path+hv.ConfigSuffix, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := asSaved(c.now, path)
		if c.want == "" && (err != nil || len(differing(got, was)) > 0) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v, %v, want %q", got, err, c.want)
		}
	}
}
