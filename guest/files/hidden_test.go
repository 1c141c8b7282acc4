package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// hiddens are the two ways to hide a file, where the file system of dir has both.
func hiddens(t *testing.T, path string) map[string]*Hidden {
	t.Helper()
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*Hidden{"with a name of ours": {File: f, path: path, temp: f.Name()}}
	if all["as here"], err = NewHidden(path); err != nil {
		t.Fatal(err)
	}
	return all
}

// What was hidden is shown whole, under a name that was free, and else is gone.
func TestHidden(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for how, h := range hiddens(t, path) {
		if _, err := h.WriteString("text"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it is there before it is shown: %v", how, err)
		}
		if err := h.Show(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		h.Close()
		if text, err := os.ReadFile(path); string(text) != "text" || err != nil {
			t.Errorf("%s: %q, %v", how, text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", how, info, err)
		}
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for how, h := range hiddens(t, path) {
		if err := h.Show(); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: over another file: %v", how, err)
		}
		h.Close()
	}
	if text, err := os.ReadFile(path); string(text) != "another" || err != nil {
		t.Errorf("it was written over: %q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

// Where a file system has no links, nothing is replaced, and nothing empty is left.
func TestRenameNew(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := renameNew(from, to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
	for _, text := range []string{"first", "second"} {
		if err := os.WriteFile(from, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := renameNew(from, to); (text == "second") != errors.Is(err, os.ErrExist) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if text, err := os.ReadFile(to); string(text) != "first" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
