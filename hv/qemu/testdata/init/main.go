// Command init is the first process of the driver's test guests. It loads the
// modules of the initramfs that it was laid over, obeys the power button, says
// "up" on the console and "log" on the agent's, and does what the kernel
// command line's test= asks for. On vsock port 1000 it echoes; on port 1002 it
// takes a port of the host (4 bytes, big endian), dials it, answers 1 or 0, and
// relays; on port 1003 it tells its boot id and its CID; who connects to port 1004
// has it let go of its vsock device.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

func main() {
	for _, m := range []struct{ dir, kind string }{{"/dev", "devtmpfs"}, {"/proc", "proc"}, {"/sys", "sysfs"}} {
		_ = os.MkdirAll(m.dir, 0o755)
		_ = unix.Mount(m.kind, m.dir, m.kind, 0, "")
	}
	cmdline, _ := os.ReadFile("/proc/cmdline")
	_, test, _ := strings.Cut(strings.TrimSpace(string(cmdline)), "test=")
	if test == "early-panic" {
		os.Exit(1)
	}
	loadModules()
	obeyButtons()
	cid, err := vsock.ContextID()
	fmt.Println("up, CID", cid, err)
	go serve(1000, func(c net.Conn) { _, _ = io.Copy(c, c) })
	go serve(1002, relay)
	go serve(1003, tell)
	go serve(1004, func(net.Conn) {
		slots, _ := filepath.Glob("/sys/bus/pci/slots/*/power")
		for _, power := range slots {
			fmt.Println(power, os.WriteFile(power, []byte("0"), 0))
		}
	})
	if log, err := os.OpenFile("/dev/hvc0", os.O_WRONLY, 0); err == nil {
		fmt.Fprintln(log, "log")
	}
	switch test {
	case "off":
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case "reset":
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	case "panic":
		_ = os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "flood":
		for {
			fmt.Println(strings.Repeat("flood", 200))
		}
	case "echo-reset":
		// The host's first connection to port 1001 is its word to reboot.
		l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, 1001, nil)
		if err != nil {
			panic(err)
		}
		_, _ = l.Accept()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	for {
		time.Sleep(time.Hour)
	}
}

func loadModules() {
	order, _ := os.ReadFile("/lib/modules.order")
	for _, path := range strings.Fields(string(order)) {
		if !filepath.IsAbs(path) {
			path = filepath.Join("/lib/modules", path)
		}
		f, err := os.Open(path)
		if err != nil {
			fmt.Println(err)
			continue
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			fmt.Println(path, err)
		}
		_ = f.Close()
	}
}

func serve(port uint32, handle func(net.Conn)) {
	l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, port, nil)
	if err != nil {
		fmt.Println("listen:", err)
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Println("accept:", err)
			return
		}
		go func() {
			defer c.Close()
			handle(c)
		}()
	}
}

func tell(c net.Conn) {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	cid, _ := vsock.ContextID()
	fmt.Fprintf(c, "%s %d", strings.TrimSpace(string(boot)), cid)
}

func relay(c net.Conn) {
	var port [4]byte
	if _, err := io.ReadFull(c, port[:]); err != nil {
		return
	}
	host, err := vsock.Dial(vsock.Host, binary.BigEndian.Uint32(port[:]), nil)
	if err != nil {
		_, _ = c.Write([]byte{0})
		return
	}
	defer host.Close()
	_, _ = c.Write([]byte{1})
	go func() {
		_, _ = io.Copy(host, c)
		_ = host.CloseWrite()
	}()
	_, _ = io.Copy(c, host)
}

// obeyButtons powers off once the ACPI power button is pressed. When it
// returns, a press counts.
func obeyButtons() {
	devices, _ := filepath.Glob("/dev/input/event*")
	for _, d := range devices {
		f, err := os.Open(d)
		if err != nil {
			continue
		}
		go func() {
			if n, _ := f.Read(make([]byte, 24)); n > 0 {
				_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
			}
		}()
	}
}
