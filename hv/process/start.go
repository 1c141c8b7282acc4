package process

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// LockFD is the descriptor at which a process gets its lock.
const LockFD = 3

// Begin is the first thing that a process does: no descriptor is handed on by
// accident, no file is made for others, and of the environment only what
// ScrubEnv keeps is left.
func Begin() error {
	if err := shutDescriptors(); err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	unix.Umask(0o077)
	env := ScrubEnv(os.Environ())
	os.Clearenv()
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("environment: %w", err)
		}
	}
	return nil
}

// InheritLock takes over descriptor 3 if it is the lock file at path and holds
// its lock: flock on the descriptor that already has the lock changes nothing,
// and is refused where another has it. The lock frees with the process: the
// file must be kept alive until then.
func InheritLock(path string) (*os.File, error) {
	lock := os.NewFile(LockFD, "lock")
	held, err := lock.Stat()
	if err != nil {
		return nil, fmt.Errorf("lock at descriptor %d: %w", LockFD, err)
	}
	onDisk, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if !held.Mode().IsRegular() || !os.SameFile(held, onDisk) {
		return nil, fmt.Errorf("lock at descriptor %d is not %s", LockFD, path)
	}
	if err := unix.Flock(LockFD, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock at descriptor %d is not locked: another holds %s: %w", LockFD, path, err)
	}
	return lock, nil
}
