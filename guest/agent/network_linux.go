package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

const (
	interfaceTime = 5 * time.Second // for the interface's driver
	addressMost   = time.Minute
)

// network brings the machine's interface up, with the address that is its own for
// life. A distribution that asks by DHCP is given the same.
func (m *machine) network() {
	if m.args.net.domain == "" {
		return
	}
	if err := m.args.net.configure(); err != nil {
		m.log.Error("network", "err", err)
		return
	}
	m.phases.Mark("network")
}

func (n netArguments) configure() error {
	name, err := awaitInterface(interfaceTime, n.mac)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, step := range []struct {
		request uint
		addr    []byte
	}{
		{unix.SIOCSIFADDR, n.address.Addr().AsSlice()},
		{unix.SIOCSIFNETMASK, net.CIDRMask(n.address.Bits(), 32)},
	} {
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := req.SetInet4Addr(step.addr); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, step.request, req); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
	}
	if err := raise(fd, name); err != nil {
		return err
	}
	return defaultRoute(fd, n.gateway.As4())
}

// awaitInterface finds an interface by its MAC, once its driver has.
func awaitInterface(limit time.Duration, mac net.HardwareAddr) (name string, err error) {
	changes, err := linkNews()
	if err != nil {
		return "", err
	}
	defer changes.close()
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("no interface has the MAC %s", mac))
	defer cancel()
	err = changes.await(ctx, func() (bool, error) {
		all, err := net.Interfaces()
		for _, i := range all {
			if i.HardwareAddr.String() == mac.String() {
				name = i.Name
			}
		}
		return name != "", err
	})
	return name, err
}

// route is the kernel's struct rtentry.
type route struct {
	_       uintptr
	dst     unix.RawSockaddrInet4
	gateway unix.RawSockaddrInet4
	mask    unix.RawSockaddrInet4
	flags   uint16
	_       int16
	_       uintptr
	_       uintptr
	metric  int16
	dev     uintptr
	_, _    uintptr
	_       uint16
}

func defaultRoute(fd int, gateway [4]byte) error {
	any4 := unix.RawSockaddrInet4{Family: unix.AF_INET}
	r := &route{dst: any4, mask: any4, gateway: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: gateway}, flags: unix.RTF_UP | unix.RTF_GATEWAY}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(r)))
	runtime.KeepAlive(r)
	if errno != 0 && errno != unix.EEXIST {
		return fmt.Errorf("route: %w", errno)
	}
	return nil
}

// tellResolved tells systemd-resolved, should the image's init start it, who
// answers. It lies in /run, so that it is this boot's alone.
func (n netArguments) tellResolved() error {
	const dir = "/run/systemd/resolved.conf.d"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "arcbox.conf"), []byte(n.resolved()), 0o644)
}

// Address waits for an address of an interface that is good beyond the link.
func (a *Agent) Address(ctx context.Context, req *wire.AddressRequest) (*wire.AddressReply, error) {
	mac, err := net.ParseMAC(req.GetMac())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "mac: %v", err)
	}
	wait := time.Duration(req.GetWaitNanos())
	if wait < 0 || wait > addressMost {
		return nil, status.Errorf(codes.InvalidArgument, "wait: %v, want 0 to %v", wait, addressMost)
	}
	changes, err := linkNews()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	defer changes.close()
	var found []string
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = changes.await(limited, func() (good bool, _ error) {
		found, good = addressesOf(mac)
		return good, nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case err != nil && limited.Err() == nil:
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &wire.AddressReply{Addresses: found}, nil // good ones or not: the time is over
}

// addressesOf are the addresses of an interface, and whether one of them is good
// beyond the link.
func addressesOf(mac net.HardwareAddr) (found []string, good bool) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, false
	}
	for _, i := range all {
		if i.HardwareAddr.String() != mac.String() || i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
			found = append(found, addr.String())
			ip, ok := addr.(*net.IPNet)
			good = good || ok && ip.IP.IsGlobalUnicast()
		}
	}
	return found, good
}
