package hosts

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwnerGone(t *testing.T) {
	w := New(Options{Owners: t.TempDir()})
	name := strings.Repeat("0f", 16)
	path := filepath.Join(w.Owners, name)
	if err := w.Gone(t.Context(), name); err != nil {
		t.Errorf("one that never was: %v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Gone(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("one that lives: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Gone(t.Context(), name) }()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("its file is left: %v", err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if err := w.Gone(t.Context(), name); err == nil {
		t.Error("a link is followed")
	}
}
