package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	kernelvsock "github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

// channel is the host's side of a guest's vsock: a device of ours, or the kernel's.
type channel interface {
	Dial(ctx context.Context, port uint32) (net.Conn, error)
	Listen(port uint32) (net.Listener, error)
	ServeConnect(l net.Listener) error // as vsock.Device does
	Close() error
}

var (
	_ channel = (*vsock.Device)(nil)
	_ channel = (*kernelChannel)(nil)
)

// Bounds of the CONNECT socket of a guest of the kernel's vsock, as those of ours.
const (
	connectMost = 1024
	connectTime = 20 * time.Second
)

// vhostDevice gives guests a vsock of the host's kernel.
const vhostDevice = "/dev/vhost-vsock"

// setGuestCID is VHOST_VSOCK_SET_GUEST_CID, _IOW(0xAF, 0x60, __u64) of the
// kernel's linux/vhost.h.
const setGuestCID = 0x4008af60

// openVhost opens the kernel's vsock for a guest with a CID, which is the guest's for
// as long as the file is open. One that somebody else has is hv.ErrCIDTaken.
func openVhost(path string, cid hv.CID) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("hv/qemu: vsock %q: this host has no %s; modprobe vhost_vsock gives it, or --vsock user needs none", hv.VsockKernel, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("hv/qemu: vsock %q: no right to %s, which the group kvm often has; --vsock user needs none", hv.VsockKernel, path)
	case err != nil:
		return nil, fmt.Errorf("hv/qemu: vsock %q: %w", hv.VsockKernel, err)
	}
	want := uint64(cid)
	err = ioctlPointer(f, setGuestCID, &want)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("hv/qemu: vsock %q: CID %d: %w", hv.VsockKernel, cid, hv.ErrCIDTaken)
	}
	return nil, fmt.Errorf("hv/qemu: vsock %q: CID %d: %w", hv.VsockKernel, cid, err)
}

// kernelChannel dials a guest through the host's kernel.
type kernelChannel struct {
	cid    hv.CID
	log    *slog.Logger
	life   context.Context
	cancel context.CancelFunc
}

func newKernelChannel(cid hv.CID, log *slog.Logger) *kernelChannel {
	k := &kernelChannel{cid: cid, log: log}
	k.life, k.cancel = context.WithCancel(context.Background()) //nolint:containedctx // the VM's life
	return k
}

// Dial connects to a port of the guest, and waits for its driver as long as ctx
// allows. The kernel itself gives up after two seconds, and is asked again.
func (k *kernelChannel) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(k.life, cancel)()
	c, err := kernelvsock.DialContext(limited, uint32(k.cid), port, nil)
	for errors.Is(err, syscall.ETIMEDOUT) && limited.Err() == nil {
		c, err = kernelvsock.DialContext(limited, uint32(k.cid), port, nil)
	}
	switch {
	case err == nil:
		return kernelConn{c}, nil
	case k.life.Err() != nil:
		err = hv.ErrGone
	case limited.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, syscall.ECONNRESET): // so the kernel says that nobody listens
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	return nil, &net.OpError{Op: "dial", Net: "vsock", Addr: vsock.Addr{CID: k.cid, Port: port}, Err: err}
}

// Listen is refused: a port of the host's kernel is that of all its guests.
func (k *kernelChannel) Listen(port uint32) (net.Listener, error) {
	return nil, fmt.Errorf("hv/qemu: listen on vsock port %d: the kernel's vsock has no ports of one guest: %w", port, hv.ErrUnsupported)
}

// ServeConnect lets other programs dial the guest, as a device of ours does.
func (k *kernelChannel) ServeConnect(l net.Listener) error {
	return vsock.Connector{
		Dial: k.Dial, MaxConns: connectMost, Timeout: connectTime, Log: k.log.With("cid", k.cid),
	}.Serve(k.life, l)
}

// Close ends what is dialled from now on. The connections end with the guest.
func (k *kernelChannel) Close() error {
	k.cancel()
	return nil
}

// kernelConn has addresses as the connections of our own device have.
type kernelConn struct{ *kernelvsock.Conn }

func (c kernelConn) LocalAddr() net.Addr  { return ourAddr(c.Conn.LocalAddr()) }
func (c kernelConn) RemoteAddr() net.Addr { return ourAddr(c.Conn.RemoteAddr()) }

func ourAddr(a net.Addr) net.Addr {
	if v, ok := a.(*kernelvsock.Addr); ok {
		return vsock.Addr{CID: hv.CID(v.ContextID), Port: v.Port}
	}
	return a
}

// ioctlPointer calls an ioctl that reads one number.
func ioctlPointer(f *os.File, request uint, v *uint64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(unsafe.Pointer(v)))
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("ioctl", errno)
	}
	return err
}
