package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// renewed is a journal that is about to be replaced by another one.
type renewed struct {
	made string // what the new one's directory is called until then: "restored"
	was  string // what the old one's is called from then on: "replaced"
}

// journal has write make a new journal, while no engine runs, and puts it in the
// old one's place. It tells where the old one is kept, "" where there was none.
func (r renewed) journal(h home.Home, write func(fresh string) error) (kept string, err error) {
	if err := checkOwner(h.Data); err != nil {
		return "", err
	}
	if err := os.MkdirAll(h.Data, 0o700); err != nil {
		return "", err
	}
	lock, err := lockHome(h, "arcbox engine stop")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	stamp := time.Now().UTC().Format("20060102T150405Z")
	fresh := filepath.Join(h.Data, "journal."+r.made+"-"+stamp)
	if err := write(fresh); err != nil {
		return "", err
	}
	return replace(h.Journal(), fresh, filepath.Join(h.Data, "journal."+r.was+"-"+stamp), exchange)
}

// replace puts a new journal in the old one's place at one stroke, where the file
// system can: an engine that found none there would begin an empty one.
func replace(path, fresh, aside string, exchange func(a, b string) error) (kept string, err error) {
	switch err := exchange(fresh, path); {
	case err == nil:
		if err := os.Rename(fresh, aside); err != nil {
			return "", fmt.Errorf("the new journal is in place; put the old one aside: %w", err)
		}
		return aside, syncDir(filepath.Dir(path))
	case errors.Is(err, fs.ErrNotExist): // there is no old one
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP):
		if err := os.Rename(path, aside); err != nil {
			return "", fmt.Errorf("put the old journal aside: %w", err)
		}
		kept = aside
	default:
		return "", fmt.Errorf("put the journal in place: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return kept, fmt.Errorf("put the journal in place: %w", err)
	}
	return kept, syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory last.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
