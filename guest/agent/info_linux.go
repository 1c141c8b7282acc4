package agent

import (
	"bytes"
	"context"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of what is told of the network.
const (
	maxInterfaces = 256
	maxAddresses  = 64
)

// SystemInfo tells what the guest is. What can't be read is left empty.
func (a *Agent) SystemInfo(context.Context, *wire.SystemInfoRequest) (*wire.SystemInfoReply, error) {
	r := &wire.SystemInfoReply{
		CpuCount:   uint32(runtime.NumCPU()),
		BootId:     a.bootID,
		Cid:        a.cid(),
		Interfaces: interfaces(),
		Data:       dataUse(),
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		r.KernelVersion = unix.ByteSliceToString(u.Release[:])
		r.Arch = unix.ByteSliceToString(u.Machine[:])
		r.Hostname = unix.ByteSliceToString(u.Nodename[:])
	}
	r.OsName, r.OsVersion = osRelease(readFirst("/etc/os-release", "/usr/lib/os-release"))
	r.TotalMemory, r.AvailableMemory = memInfo(readFirst("/proc/meminfo"))
	r.LoadAverage = floats(readFirst("/proc/loadavg"), 3)
	if up := floats(readFirst("/proc/uptime"), 1); len(up) == 1 {
		r.UptimeSeconds = up[0]
	}
	return r, nil
}

func readFirst(paths ...string) []byte {
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil {
			return b
		}
	}
	return nil
}

// osRelease gives the distribution and its version; without a file it is the
// rescue userland.
func osRelease(file []byte) (name, version string) {
	name = "arcbox rescue"
	for line := range bytes.Lines(file) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "NAME":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	return name, version
}

// memInfo gives bytes of all memory and of what programs could still have.
func memInfo(file []byte) (total, available uint64) {
	for line := range bytes.Lines(file) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		kib, err := strconv.ParseUint(fields[1], 10, 54)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			total = kib << 10
		case "MemAvailable:":
			available = kib << 10
		}
	}
	return total, available
}

// floats gives the first n numbers of a line, fewer where there are fewer.
func floats(file []byte, n int) []float64 {
	var out []float64
	for _, field := range strings.Fields(string(file)) {
		f, err := strconv.ParseFloat(field, 64)
		if err != nil || len(out) == n {
			break
		}
		out = append(out, f)
	}
	return out
}

func interfaces() []*wire.Interface {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []*wire.Interface
	for _, i := range all[:min(len(all), maxInterfaces)] {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		w := &wire.Interface{Name: i.Name, Mac: i.HardwareAddr.String(), Up: i.Flags&net.FlagUp != 0}
		for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
			w.Addresses = append(w.Addresses, addr.String())
		}
		out = append(out, w)
	}
	return out
}
