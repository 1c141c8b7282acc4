package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// owner is this command as the owner of a machine: a file that it holds locked as
// long as it lives, so that the kernel tells the engine of its end, whatever that
// is.
type owner struct {
	name string
	file *os.File
}

// ownerAge is how old a file has to be that is swept: a younger one may be about
// to be locked.
const ownerAge = time.Minute

// own makes this command an owner.
func (a *app) own() (*owner, error) {
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	dir := h.Owners()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("own a machine: %w", err)
	}
	sweepOwners(dir, a.now())
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	name := hex.EncodeToString(id[:])
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("own a machine: %w", err)
	}
	o := &owner{name, f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		o.release()
		return nil, fmt.Errorf("own a machine: lock %s: %w", f.Name(), err)
	}
	return o, nil
}

// release ends the ownership: what is still owned by then is removed.
func (o *owner) release() {
	_ = os.Remove(o.file.Name()) // swept later where this fails
	_ = o.file.Close()
}

// sweepOwners removes the files of commands that were killed before they had a
// machine. One that fails is left to the next sweep.
func sweepOwners(dir string, now time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()) < ownerAge {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.Remove(path)
		}
		_ = f.Close()
	}
}
