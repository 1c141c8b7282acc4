package qemu

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// wires are the channels between this process and one QEMU.
type wires struct {
	theirs []*os.File // QEMU's ends, by descriptor
	lock   *os.File   // among them, but not ours to close

	output                   *os.File
	qmp, vsock, console, log *net.UnixConn
}

// newWires makes them all, or none. The others become QEMU's in any case, and so
// does an open /dev/vhost-vsock, nil where the vsock device is ours.
func newWires(lock, vhost *os.File, others []*os.File) (*wires, error) {
	w := &wires{theirs: append(make([]*os.File, fdCount), others...), lock: lock}
	w.theirs[fdVsock] = vhost
	if err := w.open(); err != nil {
		w.closeTheirs()
		w.closeOurs()
		return nil, err
	}
	return w, nil
}

func (w *wires) open() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("hv/qemu: wires: %w", err)
	}
	w.theirs[fdNull], w.theirs[fdLock] = null, w.lock
	r, o, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("hv/qemu: wires: %w", err)
	}
	w.output, w.theirs[fdStdout], w.theirs[fdStderr] = r, o, o
	for _, p := range []struct {
		ours **net.UnixConn
		fd   int
	}{{&w.qmp, fdQMP}, {&w.vsock, fdVsock}, {&w.console, fdConsole}, {&w.log, fdLog}} {
		if w.theirs[p.fd] != nil {
			continue // the kernel's
		}
		if *p.ours, w.theirs[p.fd], err = socketpair(); err != nil {
			return fmt.Errorf("hv/qemu: wires: %w", err)
		}
	}
	return nil
}

// closeTheirs ends our hold on QEMU's ends: from then on, each of ours is at
// its end as soon as QEMU is dead.
func (w *wires) closeTheirs() {
	for fd, f := range w.theirs {
		if f != nil && f != w.lock && fd != fdStderr { // stderr is stdout
			_ = f.Close()
		}
	}
}

func (w *wires) closeOurs() {
	for _, c := range []*net.UnixConn{w.qmp, w.vsock, w.console, w.log} {
		if c != nil {
			_ = c.Close()
		}
	}
	if w.output != nil {
		_ = w.output.Close()
	}
}

// socketpair returns our end and theirs.
func socketpair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "qemu"), os.NewFile(uintptr(fds[1]), "qemu")
	c, err := net.FileConn(ours) // a copy
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}
