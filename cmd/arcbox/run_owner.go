package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// owner is this command as the owner of a machine: a file that it holds locked as
// long as it lives, so that the kernel tells the engine of its end, whatever that
// is.
type owner struct {
	name string
	file *os.File  // nil = it is on the engine's host,
	far  io.Closer // as long as this is open
}

// ownerAge is how old a file has to be that is swept: a younger one may be about
// to be locked.
const ownerAge = time.Minute

// own makes this command an owner, or one on the engine's host that ends with it.
func (a *app) own(ctx context.Context) (*owner, error) {
	if a.isFar() {
		return a.ownThere(ctx)
	}
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
	o := &owner{name: name, file: f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		o.release()
		return nil, fmt.Errorf("own a machine: lock %s: %w", f.Name(), err)
	}
	return o, nil
}

// release ends the ownership: what is still owned by then is removed.
func (o *owner) release() {
	if o.file == nil {
		_ = o.far.Close()
		return
	}
	_ = os.Remove(o.file.Name()) // swept later where this fails
	_ = o.file.Close()
}

// ownThere has an arcbox on the engine's host be the owner, as long as the connection
// to it lasts.
func (a *app) ownThere(ctx context.Context) (*owner, error) {
	d, err := a.sshThere()
	if err != nil {
		return nil, err
	}
	c, err := d.dialWords(ctx, "engine", "own-stdio")
	if err != nil {
		return nil, err
	}
	var name [32]byte
	if _, err := io.ReadFull(c, name[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("own a machine of %s: %w", d, err), c.Close())
	}
	return &owner{name: string(name[:]), far: c}, nil
}

// newEngineOwn is what an arcbox of another host runs here by ssh.
func newEngineOwn(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "own-stdio",
		Short:  "Own a machine as long as standard input is open",
		Long:   "Own a machine for arcbox run on another host: as long as standard input is open.",
		Hidden: true,
		Args:   noArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			o, err := a.own(ctx)
			if err != nil {
				return err
			}
			defer o.release()
			if _, err := io.WriteString(a.stdout, stdioHello+o.name); err != nil {
				return fmt.Errorf("own a machine: %w", err)
			}
			in, done := readerUntil(ctx, a.stdin)
			defer done()
			_, _ = io.Copy(io.Discard, in) // whatever ends it
			return nil
		}),
	}
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
