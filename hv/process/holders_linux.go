package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Holders are the processes that hold a locked file, as far as they can be seen, but
// this one and process 1.
func Holders(lock *unix.Stat_t) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid > 1 && pid != os.Getpid() && Holds(pid, lock) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// Holds tells whether a process has the lock file open through a descriptor
// that has the lock. Who only reads the file is left alone.
func Holds(pid int, lock *unix.Stat_t) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return false // another user's, or gone
	}
	for _, fd := range fds {
		info, err := os.ReadFile(filepath.Join(dir, "fdinfo", fd.Name()))
		if err != nil || !bytes.Contains(info, []byte("FLOCK")) {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, "fd", fd.Name()), &st) == nil && st.Dev == lock.Dev && st.Ino == lock.Ino {
			return true
		}
	}
	return false
}
