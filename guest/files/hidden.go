package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Hidden is a file that is being written and has no name yet, so that nothing of it
// stays where its process is killed. Where the file system knows no files without
// a name, it has one of ours.
type Hidden struct {
	*os.File
	path string
	temp string // the name that it has; "" = none
}

// NewHidden begins a file that is to be called path.
func NewHidden(path string) (*Hidden, error) {
	dir := filepath.Dir(path)
	if f, err := nameless(dir); err == nil {
		return &Hidden{File: f, path: path}, nil
	}
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return nil, err
	}
	return &Hidden{File: f, path: path, temp: f.Name()}, nil
}

// Show makes what was written hold, and gives the file its name, which must be free:
// else the error is os.ErrExist.
func (h *Hidden) Show() error {
	if err := h.Sync(); err != nil {
		return err
	}
	var err error
	if h.temp == "" {
		err = nameIt(h.File, h.path)
	} else if err = os.Link(h.temp, h.path); err != nil && !errors.Is(err, os.ErrExist) {
		err = renameNew(h.temp, h.path) // a file system without links
	}
	if err != nil {
		return fmt.Errorf("name %s: %w", h.path, err)
	}
	return SyncDir(filepath.Dir(h.path))
}

// renameNew renames where nothing has the name.
func renameNew(from, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = f.Close(); err == nil {
		err = os.Rename(from, to)
	}
	if err != nil {
		_ = os.Remove(to) // ours, with nothing in it
	}
	return err
}

// Close lets go of the file. What Show has not named is gone.
func (h *Hidden) Close() {
	_ = h.File.Close() // what counts was synced
	if h.temp != "" {
		_ = os.Remove(h.temp) // a second name by now, or what nobody wants
	}
}
