package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootID tells one boot of the host from another.
func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "unknown"
	}
	return id
}

var started = time.Now()

// mono is a clock that nobody can set.
func mono() time.Duration { return time.Since(started) }

// hostMemory is the host's memory, in bytes.
func hostMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

// exchange lets two names change places at one stroke.
func exchange(a, b string) error { return unix.RenamexNp(a, b, unix.RENAME_SWAP) }
