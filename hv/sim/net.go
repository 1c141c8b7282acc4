package sim

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

// backlog is how many connections wait to be accepted.
const backlog = 16

// pair makes two ends of one connection.
func pair() (host, guest *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ends := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "sim")
		c, connErr := net.FileConn(f)
		_ = f.Close()
		if connErr != nil {
			err = connErr
			continue
		}
		ends[i] = c.(*net.UnixConn)
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// Dial connects to a port of the guest.
func (vm *VM) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	if err := vm.awaken(ctx); err != nil {
		return nil, fmt.Errorf("sim: dial: %w", err)
	}
	vm.mu.Lock()
	defer vm.mu.Unlock()
	switch {
	case vm.over:
		return nil, hv.ErrGone
	case vm.agent == nil,
		port != EchoPort && port != hv.AgentPort,
		port == hv.AgentPort && vm.script.Agent == AgentNever,
		len(vm.conns) >= 2*maxConns:
		return nil, fmt.Errorf("sim: dial port %d: %w", port, syscall.ECONNREFUSED)
	}
	host, guest, err := vm.pairLocked()
	if err != nil {
		return nil, fmt.Errorf("sim: dial: %w", err)
	}
	switch {
	case port == EchoPort:
		go echo(guest)
	case vm.script.Agent != AgentHang:
		go vm.agent.take(guest)
	}
	return host, nil
}

// awaken waits for a VM that is paused.
func (vm *VM) awaken(ctx context.Context) error {
	vm.mu.Lock()
	resumed := vm.resumed
	vm.mu.Unlock()
	if resumed != nil {
		select {
		case <-resumed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// pairLocked makes a connection that ends with the VM.
func (vm *VM) pairLocked() (host, guest *tracked, err error) {
	h, g, err := pair()
	if err != nil {
		return nil, nil, err
	}
	host, guest = &tracked{UnixConn: h, vm: vm}, &tracked{UnixConn: g, vm: vm}
	vm.conns[h], vm.conns[g] = struct{}{}, struct{}{}
	return host, guest, nil
}

// tracked is an end of a connection that the VM forgets when it is closed.
type tracked struct {
	*net.UnixConn
	vm *VM
}

// Close closes this end.
func (t *tracked) Close() error {
	t.vm.mu.Lock()
	delete(t.vm.conns, t.UnixConn)
	t.vm.mu.Unlock()
	return t.UnixConn.Close()
}

// echo has a small buffer: tests open many connections, and hold what they cost
// against the VM host that this runs in.
func echo(c *tracked) {
	if _, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c.UnixConn}, make([]byte, 4<<10)); err == nil {
		_ = c.CloseWrite()
	}
	_ = c.Close()
}

// Listen takes the guest's connections to a port of the host.
func (vm *VM) Listen(port uint32) (net.Listener, error) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.over {
		return nil, hv.ErrGone
	}
	if vm.listeners[port] != nil {
		return nil, fmt.Errorf("sim: listen on port %d: %w", port, syscall.EADDRINUSE)
	}
	l := vsock.NewListener(vsock.Addr{CID: hv.CIDHost, Port: port}, backlog, func() {
		vm.mu.Lock()
		defer vm.mu.Unlock()
		delete(vm.listeners, port)
	})
	vm.listeners[port] = l
	return l, nil
}

// DialHost is the guest's dial to a port of the host.
func (vm *VM) DialHost(port uint32) (net.Conn, error) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	l := vm.listeners[port]
	if l == nil {
		return nil, syscall.ECONNRESET
	}
	host, guest, err := vm.pairLocked()
	if err != nil {
		return nil, err
	}
	if !l.Offer(host) {
		vm.forgetLocked(host, guest)
		return nil, syscall.ECONNRESET
	}
	return guest, nil
}

func (vm *VM) forgetLocked(ends ...*tracked) {
	for _, t := range ends {
		delete(vm.conns, t.UnixConn)
		_ = t.UnixConn.Close()
	}
}
