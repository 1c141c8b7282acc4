package vmhost

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// onMainThread can't be asked here; nothing depends on it, for there is no
// parent-death signal.
func onMainThread() bool { return true }

func withDeathSignal(attr *os.ProcAttr) *os.ProcAttr {
	if attr == nil {
		return &os.ProcAttr{}
	}
	return attr
}

func shutDescriptors() error {
	unix.CloseOnExec(3)
	return nil
}

// peerUID is the user at the other end, by the kernel's word.
func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Xucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
