package qemu

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// The descriptors that QEMU inherits.
const (
	fdNull    = 0
	fdStdout  = 1
	fdStderr  = 2
	fdLock    = 3
	fdQMP     = 4
	fdVsock   = 5
	fdConsole = 6
	fdLog     = 7
	fdCount   = 8 // and the disks from here on, then the network interface, then the shares
)

// baseCmdlines are what every guest kernel is told. A panic resets at once, which
// ends the VM; RDRAND is trusted, else a guest under TCG waits minutes for
// entropy, and on arm64, whose CPU may have nothing like it, the seed that QEMU
// hands over; the crypto self-tests cost a quarter of a second of each boot; the
// check of the timer, which arm64 does not have, panics where a busy host gives the
// guest no time to see it tick.
var baseCmdlines = map[hv.Arch]string{
	hv.ArchAMD64: "console=ttyS0 quiet panic=-1 random.trust_cpu=on cryptomgr.notests no_timer_check",
	hv.ArchARM64: "console=ttyAMA0 quiet panic=-1 random.trust_cpu=on random.trust_bootloader=on cryptomgr.notests",
}

// sandbox is QEMU's seccomp filter: no old system calls, no other user, no new
// program, no scheduling tricks.
const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// maxCmdline is the longest command line that a kernel reads; it cuts
// longer ones in silence.
const maxCmdline = 2047

// maxCPUs is what q35 takes without X2APIC.
const maxCPUs = 255

// Cmdline is QEMU's command line for a spec, the program's name first. It is a
// pure function: the descriptors that it names are always the same.
func Cmdline(s hv.Spec) ([]string, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	cpu, accel := tcgCPU(s.Architecture()), "tcg,thread=multi"
	if s.Accel == hv.AccelKVM {
		cpu, accel = "host", "kvm"
	}
	memory := strconv.FormatInt(mebibytes(s.Memory), 10) + "M"
	argv := []string{
		program(s),
		"-name", "guest=" + printableName(s.Name),
		"-uuid", machineUUID(s.Machine).String(),
		"-no-user-config", "-nodefaults", "-display", "none",
		"-msg", "timestamp=on",
		"-sandbox", sandbox,
		"-machine", machine(s) + ",memory-backend=mem,dump-guest-core=off,usb=off",
		"-accel", accel,
		"-cpu", cpu,
		"-smp", strconv.Itoa(s.CPUs),
		"-m", "size=" + memory,
		// Shared memory, or the vsock device is silently dead.
		"-object", "memory-backend-memfd,id=mem,size=" + memory + ",share=on",
		"-rtc", "base=utc",
		"-no-reboot", "-action", "panic=shutdown",
		"-S",
		"-chardev", socketChardev("qmp", fdQMP), "-mon", "chardev=qmp,mode=control",
		"-chardev", socketChardev("console", fdConsole), "-serial", "chardev:console",
		"-device", "pvpanic-pci",
	}
	argv = append(argv, vsockArgs(s)...)
	if s.Saved != "" {
		argv = append(argv, "-incoming", "defer")
	}
	argv = append(argv,
		"-chardev", socketChardev("log", fdLog), "-device", "virtio-serial-pci,max_ports=1", "-device", "virtconsole,chardev=log",
		"-kernel", s.Kernel,
	)
	if s.Initrd != "" {
		argv = append(argv, "-initrd", s.Initrd)
	}
	for i, d := range s.Disks {
		argv = append(argv, diskArgs(i, d)...)
	}
	next := fdCount + len(s.Disks)
	if s.NIC != nil {
		argv = append(argv, nicArgs(next, *s.NIC)...)
		next++
	}
	for i, sh := range s.Shares {
		argv = append(argv, shareArgs(i, next+i, sh)...)
	}
	return append(argv, "-append", kernelCmdline(s)), nil
}

// The names by which QMP calls the vsock device, its socket and its slot.
const (
	vsockDevice = "vsock"
	vsockSlot   = "vsockport"
	vsockFile   = "vhost" // of the kernel's, where it is lent
)

// vsockArgs are the guest's vsock: our own device, or the kernel's by an open
// /dev/vhost-vsock. It has a slot of its own, as no VM with it can be saved: there it
// can be unplugged. A guest that goes on has it plugged in later.
func vsockArgs(s hv.Spec) []string {
	argv := []string{"-device", "pcie-root-port,id=" + vsockSlot + ",bus=pcie.0,chassis=1"}
	if boardOf(s) == hv.BoardQ35 { // not every kernel of ours has hot plug by ACPI
		argv = append(argv, "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")
	}
	if s.Vsock != hv.VsockKernel {
		argv = append(argv, "-chardev", socketChardev(vsockDevice, fdVsock))
	}
	if s.Saved != "" {
		return argv
	}
	device := "vhost-user-vsock-pci,chardev=" + vsockDevice
	if s.Vsock == hv.VsockKernel {
		device = fmt.Sprintf("vhost-vsock-pci,guest-cid=%d,vhostfd=%d", s.CID, fdVsock)
	}
	return append(argv, "-device", device+",id="+vsockDevice+",bus="+vsockSlot)
}

// tcgCPU is the processor where QEMU makes it up.
func tcgCPU(arch hv.Arch) string {
	if arch == hv.ArchARM64 {
		return "cortex-a72"
	}
	return "qemu64,+rdrand"
}

// boardOf is the board that a spec leads to.
func boardOf(s hv.Spec) hv.Board {
	switch {
	case s.Board != "":
		return s.Board
	case s.Architecture() == hv.ArchARM64:
		return hv.BoardVirt
	}
	return hv.BoardQ35
}

// machine is the board. Legacy devices that no guest of ours needs are left out:
// less to probe at boot, less to attack.
func machine(s hv.Spec) string {
	switch boardOf(s) {
	case hv.BoardVirt:
		// Without firmware nobody reads ACPI tables. KVM has the interrupt
		// controller that its host has.
		if s.Accel == hv.AccelKVM {
			return "virt,gic-version=host,acpi=off"
		}
		return "virt,gic-version=3,acpi=off"
	case hv.BoardMicroVM:
		// ACPI ends it and has the power button; the timers are all that it has
		// to count time by before it knows its counter.
		return "microvm,pcie=on,acpi=on,rtc=on,pit=on,pic=on,isa-serial=on,auto-kernel-cmdline=off"
	}
	return "q35,sata=off,smbus=off,i8042=off,vmport=off"
}

// diskArgs attach one disk, by a descriptor; QEMU's own locks on the file stay on.
// The host's page cache is used, so that machines of one image hold it in memory
// once; what the guest flushes is synced. What the guest discards becomes a hole.
func diskArgs(i int, d hv.Disk) []string {
	node, driver := diskNode(i), "file"
	if d.Device {
		driver = "host_device"
	}
	file := map[string]any{
		"driver": "raw", "node-name": node, "read-only": d.ReadOnly, "discard": "unmap",
		"file": map[string]any{"driver": driver, "filename": diskName(i), "aio": "threads", "locking": "on"},
	}
	text, _ := json.Marshal(file) // strings and truths: it can't fail
	return []string{
		"-add-fd", fmt.Sprintf("fd=%d,set=%d", fdCount+i, i),
		"-blockdev", string(text), "-device", "virtio-blk-pci,drive=" + node + ",serial=" + d.Serial,
	}
}

// nicArgs attach the network interface to a listening socket, where QEMU takes
// one connection after the other. It has no boot ROM: nothing boots from it.
func nicArgs(fd int, n hv.NIC) []string {
	return []string{
		"-netdev", fmt.Sprintf("stream,id=net,server=on,addr.type=fd,addr.str=%d", fd),
		"-device", fmt.Sprintf("virtio-net-pci,netdev=net,mac=%s,host_mtu=%d,rx_queue_size=1024,romfile=", n.MAC, n.MTU),
	}
}

// diskNode names a disk for QMP.
func diskNode(i int) string { return fmt.Sprintf("disk%d", i) }

// shareArgs attach a share to the socket of its server.
func shareArgs(i, fd int, s hv.Share) []string {
	id := fmt.Sprintf("share%d", i)
	return []string{"-chardev", socketChardev(id, fd), "-device", fmt.Sprintf("vhost-user-fs-pci,chardev=%s,tag=%s,queue-size=1024", id, s.Tag)}
}

// diskName is how QEMU calls the disk whose descriptor it got.
func diskName(i int) string { return fmt.Sprintf("/dev/fdset/%d", i) }

func kernelCmdline(s hv.Spec) string {
	words := baseCmdlines[s.Architecture()]
	if s.TSCKHz > 0 {
		// lpj is what the kernel would count in one of its ticks, 250 a second.
		words += fmt.Sprintf(" tsc=reliable tsc_early_khz=%d lpj=%d", s.TSCKHz, 4*s.TSCKHz)
	}
	if boardOf(s) == hv.BoardMicroVM {
		words += " pcie_ports=native" // its ACPI does not hand out the slots
	}
	return strings.TrimSpace(words + " " + strings.TrimSpace(s.Cmdline))
}

func socketChardev(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d", id, fd)
}

// check refuses what QEMU would refuse less clearly, or not at all.
func check(s hv.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	switch {
	case s.Backend != hv.BackendQEMU:
		return fmt.Errorf("hv/qemu: backend %q: this driver is %q", s.Backend, hv.BackendQEMU)
	case s.Accel != hv.AccelKVM && s.Accel != hv.AccelTCG:
		return fmt.Errorf("hv/qemu: accel %q: a command line needs %q or %q", s.Accel, hv.AccelKVM, hv.AccelTCG)
	case s.CPUs > maxCPUs:
		return fmt.Errorf("hv/qemu: cpus %d: at most %d", s.CPUs, maxCPUs)
	case !filepath.IsAbs(s.Kernel):
		return fmt.Errorf("hv/qemu: kernel %q: an absolute path is needed", s.Kernel)
	case s.Initrd != "" && !filepath.IsAbs(s.Initrd):
		return fmt.Errorf("hv/qemu: initrd %q: an absolute path is needed", s.Initrd)
	case strings.ContainsAny(s.Cmdline, "\x00\n\r"):
		return fmt.Errorf("hv/qemu: cmdline %q: one line without NUL is allowed", s.Cmdline)
	}
	if n := len(kernelCmdline(s)); n > maxCmdline {
		return fmt.Errorf("hv/qemu: cmdline: %d bytes with the engine's own words, the kernel reads at most %d", n, maxCmdline)
	}
	return nil
}

// mebibytes rounds up to what QEMU's machine can lay out.
func mebibytes(n int64) int64 { return (n-1)>>20 + 1 }

func program(s hv.Spec) string {
	if s.QEMU != "" {
		return s.QEMU
	}
	return s.Architecture().QEMU()
}

// printableName keeps of a name what can't be read as an option or as another
// process in ps.
func printableName(name string) string {
	keep := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		}
		return '_'
	}
	if name = strings.Map(keep, name); len(name) > 63 {
		name = name[:63]
	}
	if name == "" {
		return "unnamed"
	}
	return name
}

// machineUUID is the machine's id; an id that is no UUID gets one of its own,
// always the same.
func machineUUID(machine string) uuid.UUID {
	if id, err := uuid.Parse(machine); err == nil {
		return id
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(machine))
}

// scrubbedEnv is all of the environment that QEMU sees.
func scrubbedEnv() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} }
