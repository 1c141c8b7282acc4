//go:build unix

package home

import (
	"os"
	"syscall"
)

// own tells whether a directory exists and belongs to this user.
func own(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
