//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// asInit makes a guest of a kernel and the engine's initramfs in which pour is the
// first process: its modules loaded, its one interface up with the address that
// QEMU's user network gives to its first guest.
func asInit() error {
	for _, m := range []struct{ dir, kind string }{{"/dev", "devtmpfs"}, {"/proc", "proc"}, {"/sys", "sysfs"}} {
		_ = os.MkdirAll(m.dir, 0o755)
		_ = unix.Mount(m.kind, m.dir, m.kind, 0, "")
	}
	order, err := os.ReadFile("/lib/modules.order")
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(order)) {
		if !filepath.IsAbs(path) {
			path = filepath.Join("/lib/modules", path)
		}
		if f, err := os.Open(path); err == nil {
			_ = unix.FinitModule(int(f.Fd()), "", 0) // those that this machine has no device for fail
			_ = f.Close()
		}
	}
	name, err := wired()
	if err != nil {
		return err
	}
	return address(name, net.IPv4(10, 0, 2, 15), net.CIDRMask(24, 32))
}

// wired is the interface that is not the loopback. Its driver has found it by
// the time that its module is loaded.
func wired() (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range all {
		if len(i.HardwareAddr) == 6 {
			return i.Name, nil
		}
	}
	return "", errors.New("there is no interface")
}

func address(name string, ip net.IP, mask net.IPMask) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		request uint
		addr    []byte
	}{{unix.SIOCSIFADDR, ip.To4()}, {unix.SIOCSIFNETMASK, mask}} {
		if err := req.SetInet4Addr(step.addr); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, step.request, req); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("raise %s: %w", name, err)
	}
	return nil
}
