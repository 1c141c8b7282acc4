package hosts

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// TestNoteIsOfItsLaunch: an exit note says how its own launch ended, and
// nothing of another one.
func TestNoteIsOfItsLaunch(t *testing.T) {
	w := New(Options{Machines: t.TempDir(), Run: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	ref := actors.Ref{ID: "m", Name: "m", RunTag: "m"}
	dir := w.place(ref).Dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	note, err := json.Marshal(api.Note{Version: api.NoteVersion, Machine: "m", Launch: "old", Exit: hv.Exit{Cause: hv.ExitPoweredOff}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, api.NoteFile), note, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for launch, want := range map[string]fsm.Finding{"old": fsm.FreeWithNote, "new": fsm.Free} {
		s, err := w.Look(t.Context(), ref, launch)
		if err != nil || s.Lock == nil {
			t.Fatalf("%s: %+v, %v", launch, s, err)
		}
		if s.Found != want || (s.Exit != nil) != (want == fsm.FreeWithNote) {
			t.Errorf("a note of launch old, looked at for launch %s: %s, %+v", launch, s.Found, s.Exit)
		}
		if err := s.Lock.Close(); err != nil {
			t.Error(err)
		}
	}
}
