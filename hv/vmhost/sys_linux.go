package vmhost

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// onMainThread tells whether the caller runs on the process's first thread.
func onMainThread() bool { return unix.Gettid() == os.Getpid() }

// withDeathSignal copies attr and has the kernel kill the process when this
// one is gone.
func withDeathSignal(attr *os.ProcAttr) *os.ProcAttr {
	a, sys := os.ProcAttr{}, syscall.SysProcAttr{}
	if attr != nil {
		a = *attr
	}
	if a.Sys != nil {
		sys = *a.Sys
	}
	sys.Pdeathsig = syscall.SIGKILL
	a.Sys = &sys
	return &a
}
