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

// TestWhatIsTypedWrong: exit code 2 and the next command.
func TestWhatIsTypedWrong(t *testing.T) {
	for _, c := range []struct {
		home string
		args []string
		want string
	}{
		{"/h", []string{"--bogus"}, "--bogus"},
		{"/h", []string{"serve"}, "serve"},
		{"/h", []string{"journal", "--bogus"}, "--bogus"},
		{"/" + strings.Repeat("x", 150), nil, "limited to 103"},
		{"/" + strings.Repeat("x", 150), []string{"journal"}, "limited to 103"},
	} {
		t.Setenv(home.Var, c.home)
		cmd := root()
		cmd.SetArgs(c.args)
		r, ok := errors.AsType[*actors.Refusal](cmd.ExecuteContext(t.Context()))
		if !ok || r.Code.ExitCode() != 2 || !strings.Contains(r.Message, c.want) || !strings.Contains(r.Hint, "arcbox-engine") {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
}

// TestWhileAnEngineRuns: nothing is put in the journal's place, and it is said what
// goes first.
func TestWhileAnEngineRuns(t *testing.T) {
	t.Setenv(home.Var, t.TempDir())
	h, err := findHome()
	if err == nil {
		err = os.MkdirAll(h.Journal(), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockHome(h, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, args := range [][]string{{"journal", "restore", h.Journal()}, {"journal", "recover"}} {
		cmd := root()
		cmd.SetArgs(args)
		r, ok := errors.AsType[*actors.Refusal](cmd.ExecuteContext(t.Context()))
		if !ok || r.Code.ExitCode() != 4 || r.Hint != "arcbox engine stop" || !strings.Contains(r.Message, "engine.lock") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestDataDirectoryOfSomebodyElse: root, too, leaves it alone.
func TestDataDirectoryOfSomebodyElse(t *testing.T) {
	dir := t.TempDir()
	for _, mine := range []string{dir, filepath.Join(dir, "none")} {
		if err := checkOwner(mine); err != nil {
			t.Errorf("%s: %v", mine, err)
		}
	}
	theirs := "/" // root's, where we are not
	if os.Geteuid() == 0 {
		theirs = dir
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	r, ok := errors.AsType[*actors.Refusal](checkOwner(theirs))
	if !ok || r.Code.ExitCode() != 7 || !strings.Contains(r.Message, theirs) || !strings.Contains(r.Hint, home.Var) {
		t.Errorf("%s: %+v", theirs, r)
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
