package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, text := range []string{"one", "another", ""} {
		if err := Replace(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := Read(name, 7)
		info, statErr := os.Stat(name)
		if err = errors.Join(err, statErr); err != nil || string(got) != text || info.Mode() != 0o640 {
			t.Errorf("%q, %v, %v", got, info, err)
		}
	}
	if err := Replace(filepath.Join(dir, "none", "file"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	// What can't get its name leaves nothing.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "by"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(taken, []byte("x"), 0o600); err == nil {
		t.Error("it replaced a directory")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{tempPrefix + "1", tempPrefix + "2", "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := Sweep(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// What never ends, and what is longer than it may be, is not read.
func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	long, fifo := filepath.Join(dir, "long"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(long, make([]byte, 8), 0o600), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(long, 7); !errors.Is(err, ErrSize) {
		t.Errorf("more than is allowed: %v", err)
	}
	for _, name := range []string{fifo, dir, "/dev/zero"} {
		if _, err := Read(name, 7); !errors.Is(err, ErrKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, name := range []string{t.TempDir(), os.DevNull} {
		if _, err := Open(name); !errors.Is(err, ErrKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// Who waits is told once that he does, and gives up with his context.
func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path, unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Try(path, unix.LOCK_SH)
	if err != nil {
		t.Fatalf("shared by two: %v", err)
	}
	other.Release()
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	if _, err := Take(ctx, path, unix.LOCK_EX, func() { told++; cancel() }); !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
	mine, err := Take(t.Context(), path, unix.LOCK_EX, l.Release)
	if err != nil {
		t.Fatal(err)
	}
	mine.Release()
}

// A lock whose file is removed by its holder excludes all the same.
func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				l, err := Try(path, unix.LOCK_EX)
				if errors.Is(err, ErrHeld) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				runtime.Gosched()
				inside.Add(-1)
				l.Remove()
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d were inside at once", n)
	}
}

// An open file that its path does not name any more is no lock.
func TestLockOfARemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := same(f, path); err != nil {
		t.Error(err)
	}
	for name, replace := range map[string]func() error{
		"removed":  func() error { return os.Remove(path) },
		"replaced": func() error { return os.WriteFile(path, nil, 0o600) },
	} {
		if err := errors.Join(os.RemoveAll(path), replace()); err != nil && name == "replaced" {
			t.Fatal(err)
		}
		if err := same(f, path); !errors.Is(err, ErrHeld) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
