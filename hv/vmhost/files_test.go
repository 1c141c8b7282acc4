package vmhost

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// Whatever is written in whatever pieces: neither half is over its bound, and
// both together are the end of what was written.
func TestRotated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "rotated")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path := filepath.Join(dir, "log")
		bound := rapid.Int64Range(1, 40).Draw(t, "bound")
		var all []byte
		r := newRotated(path, bound)
		for range rapid.IntRange(0, 20).Draw(t, "writes") {
			p := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "p")
			if n, err := r.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
			all = append(all, p...)
			if rapid.Bool().Draw(t, "reopen") {
				r.close()
				r = newRotated(path, bound)
			}
		}
		r.close()
		older, _ := os.ReadFile(path + ".1")
		newer, _ := os.ReadFile(path)
		if int64(len(older)) > bound || int64(len(newer)) > bound {
			t.Fatalf("%d and %d bytes, bound %d", len(older), len(newer), bound)
		}
		kept := append(older, newer...)
		if !bytes.HasSuffix(all, kept) || int64(len(kept)) < min(int64(len(all)), bound) {
			t.Fatalf("kept %q of %q", kept, all)
		}
	})
}

// A console that can't be written drops, and never fails.
func TestRotatedWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "log"), filepath.Join(dir, "no", "log")} {
		r := newRotated(path, 10)
		if n, err := r.Write([]byte("hello")); n != 5 || err != nil {
			t.Errorf("%s: %d, %v", path, n, err)
		}
		r.close()
	}
}

// The note replaces one that is there, and the space set aside for it.
func TestNote(t *testing.T) {
	dir := t.TempDir()
	for _, launch := range []string{"a launch with a long name", "b"} {
		if err := reserveNote(dir); err != nil {
			t.Fatal(err)
		}
		note := api.Note{Version: 1, Machine: "m", Launch: launch, Exit: hv.Exit{Cause: hv.ExitKilled}}
		if err := writeNote(dir, note); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, api.NoteFile))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := api.DecodeNote(data); err != nil || got != note {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestEventLogIsBounded(t *testing.T) {
	l := newEventLog()
	for range 3 * keptEvents {
		l.add(hv.Event{Kind: hv.EventRebooted, Why: strings.Repeat("w", 2*api.MaxText)})
	}
	events, _ := l.after(0)
	if len(events) != keptEvents || events[0].Seq != 2*keptEvents+1 || l.seq() != 3*keptEvents || len(events[0].Why) > api.MaxText {
		t.Errorf("%d events from %d, last %d", len(events), events[0].Seq, l.seq())
	}
	if events, _ = l.after(l.seq()); len(events) != 0 {
		t.Errorf("events after the last: %v", events)
	}
}
