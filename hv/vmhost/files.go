package vmhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// defaultConsole is the size of one console file where the spec names none.
const defaultConsole = 1 << 20

// noteSpace is what is set aside for the exit note at the start, so that a
// disk that is full by then does not lose it.
const noteSpace = 8 << 10

// rotated is a file of at most max bytes, and its older half FILE.1. What it
// can't write it drops: a full disk must not stop the guest.
type rotated struct {
	mu   sync.Mutex
	path string
	max  int64
	size int64
	f    *os.File // nil after a failure to open or after close
}

func newRotated(path string, max int64) *rotated {
	if max <= 0 {
		max = defaultConsole
	}
	r := &rotated{path: path, max: max}
	r.open()
	return r
}

func (r *rotated) open() {
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	if info, err := f.Stat(); err == nil {
		r.f, r.size = f, info.Size()
	} else {
		_ = f.Close()
	}
}

// Write never fails.
func (r *rotated) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := len(p)
	for len(p) > 0 && r.f != nil {
		if r.size >= r.max {
			r.rotate()
			continue
		}
		n, err := r.f.Write(p[:min(int64(len(p)), r.max-r.size)])
		r.size += int64(n)
		p = p[n:]
		if err != nil {
			break
		}
	}
	return total, nil
}

func (r *rotated) rotate() {
	_ = r.f.Close()
	r.f = nil
	if os.Rename(r.path, r.path+".1") == nil || os.Remove(r.path) == nil {
		r.open()
	}
}

func (r *rotated) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
}

// reserveNote sets space aside for the exit note.
func reserveNote(dir string) error {
	part := filepath.Join(dir, api.NoteFile+".part")
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	_, err = f.Write(bytes.Repeat([]byte{' '}, noteSpace))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	return nil
}

// writeNote makes the exit note durable: staged, synced, renamed, the
// directory synced.
func writeNote(dir string, n api.Note) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	path := filepath.Join(dir, api.NoteFile)
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Truncate(int64(len(data)))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("exit note: %w", err)
	}
	return nil
}
