package hosts

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// saving is a world with the directory of a machine that was launched before.
func saving(t *testing.T) (w *World, ref actors.Ref, dir string, token []byte) {
	t.Helper()
	home, err := os.MkdirTemp("", "sus") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	w, ref = New(Options{Machines: filepath.Join(home, "m"), Run: home}), actors.Ref{ID: "m", Name: "box", RunTag: "t"}
	p := w.place(ref)
	if err := errors.Join(os.MkdirAll(p.Dir, 0o700), os.MkdirAll(p.RunDir, 0o700)); err != nil {
		t.Fatal(err)
	}
	return w, ref, p.Dir, launched(t, w, ref, false)
}

// launched is the token of a launch that is about to begin.
func launched(t *testing.T, w *World, ref actors.Ref, saved bool) []byte {
	t.Helper()
	spec, _, err := w.spec(t.Context(), ref, actors.Order{Launch: "l", CID: 3, Spec: fsm.Spec{Backend: "sim"}, Saved: saved})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(spec.Dir, api.SavedFile); saved && (spec.Saved != want || spec.Version != hv.SpecVersionSaved) ||
		!saved && (spec.Saved != "" || spec.Version != hv.SpecVersion) {
		t.Fatalf("spec version %d goes on from %q", spec.Version, spec.Saved)
	}
	token, err := os.ReadFile(spec.TokenFile)
	if err != nil || len(token) != guestwire.TokenSize {
		t.Fatalf("token of %d bytes, %v", len(token), err)
	}
	return token
}

func leave(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoesOn: a launch that goes on has the token that the guest has in its memory, and
// leaves the file to the driver, however often it is tried.
func TestGoesOn(t *testing.T) {
	w, ref, dir, token := saving(t)
	leave(t, dir, api.SavedFile)
	for range 2 {
		if got := launched(t, w, ref, true); !bytes.Equal(got, token) {
			t.Error("the token is another one")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, api.SavedFile)); err != nil {
		t.Error(err)
	}
}

// TestBootsAnew: a launch that boots removes what was saved, and what was left of a save.
func TestBootsAnew(t *testing.T) {
	w, ref, dir, token := saving(t)
	leave(t, dir, api.SavedFile, api.SavedStage, api.SavedConfig)
	if got := launched(t, w, ref, false); bytes.Equal(got, token) {
		t.Error("the token is the same")
	}
	for _, name := range []string{api.SavedFile, api.SavedStage, api.SavedConfig} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	// One that can't be removed is in the way.
	if err := os.MkdirAll(filepath.Join(dir, api.SavedFile, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.spec(t.Context(), ref, actors.Order{Spec: fsm.Spec{Backend: "sim"}}); err == nil || !strings.Contains(err.Error(), "remove the saved guest") {
		t.Errorf("%v", err)
	}
}

// TestNothingToGoOnFrom: what is lacking is said, with what to do.
func TestNothingToGoOnFrom(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"no file":      {func(dir string) error { return os.Remove(filepath.Join(dir, api.SavedFile)) }, "its saved guest is not there"},
		"a directory":  {func(dir string) error { return other(dir, func(p string) error { return os.Mkdir(p, 0o700) }) }, "no regular file"},
		"a link":       {func(dir string) error { return other(dir, func(p string) error { return os.Symlink("token", p) }) }, "no regular file"},
		"no token":     {func(dir string) error { return os.Remove(filepath.Join(dir, api.TokenFile)) }, "the token"},
		"a half token": {func(dir string) error { return writeToken(filepath.Join(dir, api.TokenFile), make([]byte, 16)) }, "has not 32 bytes"},
	} {
		w, ref, dir, _ := saving(t)
		leave(t, dir, api.SavedFile)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.spec(t.Context(), ref, actors.Order{Spec: fsm.Spec{Backend: "sim"}, Saved: true})
		got, ok := errors.AsType[*actors.Refusal](err)
		if !ok || got.Code != wire.Code_CODE_CONFLICT || got.Hint != "arcbox start --fresh box" || !strings.Contains(got.Message, c.want) || !strings.Contains(got.Message, "(arcbox start --fresh box boots it)") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// other makes something else in the place of the saved guest.
func other(dir string, make func(path string) error) error {
	path := filepath.Join(dir, api.SavedFile)
	return errors.Join(os.Remove(path), make(path))
}

// TestSave: what a VM host answers to a save is passed on; one that can't is ErrNoSave.
func TestSave(t *testing.T) {
	w, ref, _, _ := saving(t)
	l, err := net.Listen("unix", filepath.Join(w.place(ref).RunDir, api.HostSocket))
	if err != nil {
		t.Fatal(err)
	}
	answers := []api.Answer{
		{OK: true}, {Code: api.CodeUnsupported, Error: "not known"}, {Code: api.CodeInternal, Error: "its disk is full"},
	}
	played := make(chan int)
	go func() {
		defer close(played)
		playSaves(l, answers)
	}()
	var errs []error
	for range answers {
		errs = append(errs, w.Save(t.Context(), ref))
	}
	if errs[0] != nil || !errors.Is(errs[1], actors.ErrNoSave) || errors.Is(errs[2], actors.ErrNoSave) || !strings.Contains(errs[2].Error(), "its disk is full") {
		t.Errorf("%q", errs)
	}
	_ = l.Close()
	<-played
	if err := w.Save(t.Context(), ref); err == nil || errors.Is(err, actors.ErrNoSave) {
		t.Errorf("with nobody there: %v", err)
	}
}

// playSaves plays a VM host that gives these answers to saves, one after the other, and
// does not say who it is.
func playSaves(l net.Listener, answers []api.Answer) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		line, _, _ := api.ReadLine(c)
		answer := api.Answer{Code: api.CodeInternal, Error: "who knows"}
		if string(line) == `{"op":"save"}` {
			answer, answers = answers[0], answers[1:]
		}
		if out, err := api.Encode(answer); err == nil {
			_, _ = c.Write(out)
		}
		_ = c.Close()
	}
}
