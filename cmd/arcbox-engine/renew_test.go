package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReplaceKeepsTheOldJournal on file systems that can exchange two names, and
// on those that can't.
func TestReplaceKeepsTheOldJournal(t *testing.T) {
	cannot := func(string, string) error { return unix.EINVAL }
	for name, c := range map[string]struct {
		exchange func(a, b string) error
		there    bool // an old one
	}{"at one stroke": {exchange, true}, "in two": {cannot, true}, "the first": {exchange, false}} {
		dir := t.TempDir()
		path, fresh, aside := filepath.Join(dir, "journal"), filepath.Join(dir, "fresh"), filepath.Join(dir, "aside")
		put(t, fresh, "new")
		if c.there {
			put(t, path, "old")
		}
		kept, err := replace(path, fresh, aside, c.exchange)
		if err != nil || (kept == aside) != c.there {
			t.Errorf("%s: %q, %v", name, kept, err)
		}
		if got := what(t, path); got != "new" {
			t.Errorf("%s: in place is %q", name, got)
		}
		if c.there && what(t, aside) != "old" {
			t.Errorf("%s: kept is %q", name, what(t, aside))
		}
		if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplaceFailsWithTheOldJournalInPlace: whatever the reason.
func TestReplaceFailsWithTheOldJournalInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	put(t, path, "old")
	put(t, filepath.Join(dir, "fresh"), "new")
	for _, err := range []error{unix.EIO, unix.EACCES, unix.ENOSPC} {
		_, got := replace(path, filepath.Join(dir, "fresh"), filepath.Join(dir, "aside"), func(string, string) error { return err })
		if !errors.Is(got, err) || what(t, path) != "old" {
			t.Errorf("%v: %v, in place is %q", err, got, what(t, path))
		}
	}
}

func put(t *testing.T, dir, text string) {
	t.Helper()
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "head"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func what(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "head"))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
