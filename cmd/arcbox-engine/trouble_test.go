package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// TestTroubleNamesTheNextCommand: whatever keeps an engine from starting.
func TestTroubleNamesTheNextCommand(t *testing.T) {
	h := home.Home{Data: "/data"}
	for name, c := range map[string]struct {
		err  error
		hint string
	}{
		"damaged":      {fmt.Errorf("x: %w", &journal.DamagedError{File: "f", Err: errors.New("bad")}), "journal recover"},
		"locked":       {fmt.Errorf("%w: /data", journal.ErrLocked), "fuser"},
		"newer":        {fmt.Errorf("%w: 9", journal.ErrNewerFormat), "that arcbox-engine"},
		"full":         {&os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, "df -h /data"},
		"read-only":    {&os.PathError{Op: "mkdir", Path: "f", Err: syscall.EROFS}, "can be written"},
		"not ours":     {&os.PathError{Op: "open", Path: "f", Err: fs.ErrPermission}, "can be written"},
		"no directory": {&os.PathError{Op: "mkdir", Path: "/dev/null/x", Err: syscall.ENOTDIR}, "can be written"},
		"another":      {&actors.Refusal{Hint: "as it was"}, "as it was"},
	} {
		r, ok := errors.AsType[*actors.Refusal](explain(h, c.err))
		if !ok || !strings.Contains(r.Hint, c.hint) || r.Message != c.err.Error() {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if explain(h, nil) != nil {
		t.Error("no trouble, explained")
	}
}

func TestLossInARowIsALine(t *testing.T) {
	got := spans([]journal.Fault{{Seq: 1, What: "missing"}, {Seq: 2, What: "missing"}, {Seq: 3, What: "flipped"}, {Seq: 5, What: "flipped"}})
	want := "[lost 1 to 2: missing lost 3: flipped lost 5: flipped]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestEngineWaitsForAReader: arcbox journal holds the journal's lock for a
// moment, and must not keep an engine from starting.
func TestEngineWaitsForAReader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	first, err := journal.Open(dir, journal.Options{Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(4*lockStep, func() { _ = first.Close() })
	second, err := openJournal(t.Context(), dir, journal.Options{Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
