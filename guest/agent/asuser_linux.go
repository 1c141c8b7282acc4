package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asUser does something as a user of the guest, with what the kernel lets that
// user do: sockets are reached and made by whom they are for. do must not hand
// work to other goroutines, for only this thread is the user.
func asUser(a account, do func() error) error {
	if os.Geteuid() != 0 || a.uid == 0 {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var err error
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("as user %q: panicked: %v", a.name, r)
			}
			// A thread that can't be root again ends with this goroutine.
			if back := become(0, 0, nil); back == nil {
				runtime.UnlockOSThread()
			}
			done <- err
		}()
		if err = become(a.uid, a.gid, a.groups); err == nil {
			err = do()
		}
	}()
	return <-done
}

// become changes this thread's effective user; the package syscall would change
// all of the process. To be root goes before the groups, to be another behind.
func become(uid, gid uint32, groups []uint32) error {
	const same = ^uintptr(0)
	setUser := func() unix.Errno { return raw(unix.SYS_SETRESUID, same, uintptr(uid), same) }
	setGroup := func() unix.Errno { return raw(unix.SYS_SETRESGID, same, uintptr(gid), same) }
	setGroups := func() unix.Errno {
		if len(groups) == 0 {
			return raw(unix.SYS_SETGROUPS, 0, 0, 0)
		}
		return raw(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	}
	steps := []func() unix.Errno{setGroups, setGroup, setUser}
	if uid == 0 {
		steps = []func() unix.Errno{setUser, setGroup, setGroups}
	}
	var failed error
	for _, step := range steps {
		if errno := step(); errno != 0 {
			failed = errors.Join(failed, errno)
		}
	}
	if failed != nil {
		return fmt.Errorf("be user %d: %w", uid, failed)
	}
	return nil
}

func raw(call, a, b, c uintptr) unix.Errno {
	_, _, errno := unix.RawSyscall(call, a, b, c)
	return unix.Errno(errno)
}
