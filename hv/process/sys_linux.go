package process

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// shutDescriptors keeps every descriptor but 0, 1 and 2 from the processes
// that this one starts, unless it is handed down by name.
func shutDescriptors() error {
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		unix.CloseOnExec(3)
		return nil
	}
	return err
}

// peerUID is the user at the other end, by the kernel's word.
func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
