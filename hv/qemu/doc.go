// Package qemu is the [hv.Driver] that runs a VM with QEMU on Linux, and the
// probe that says whether this host's KVM really runs guests.
//
// # What a VM is made of
//
// One QEMU process, started by direct kernel boot. Its board is a q35, or a
// microvm with PCIe, which has less to build and to probe and the same devices
// of ours; for arm64 it is QEMU's virt with a GICv3. The
// kernel may be an ELF with a PVH entry (half a second quicker under TCG) or a
// bzImage, -kernel takes both; for arm64 it is an Image. [Cmdline] is the whole command line, a pure
// function of the spec. Nothing that QEMU needs from us has a path: every
// channel is a descriptor that it inherits, so nothing is left behind and
// nobody else can connect. The network's socket alone has a name too: the network
// process connects to it, again after an end of either.
//
//	0     /dev/null
//	1, 2  one pipe: what QEMU itself prints; its end is kept for the exit's text
//	3     the machine's lock file: the flock frees when QEMU is dead, not before
//	4     QMP
//	5     vhost-user: package hv/vsock serves the guest's vsock in this process
//	6     the serial console, ttyS0 (arm64: ttyAMA0) in the guest → [hv.Env].Console
//	7     the virtio console, hvc0 in the guest → [hv.Env].AgentLog
//	8…    the disks, in the spec's order
//	last  the socket at which it takes the network's frames, listening
//
// Disks are opened by the driver, under the machine's lock, after a look at what
// they are; QEMU's own image locks stay on as a second fence. They are raw, behind
// the host's page cache, and found in the guest by their serial.
//
// There is one QMP connection: QEMU runs the commands of all its monitors one
// after the other, so a second would wait with the first. Consoles are read
// always and at once, also when nobody wants them: a guest never waits for a
// reader.
//
// # Life
//
// QEMU starts with its CPUs stopped (-S). Start shakes hands over QMP, lets
// the guest run, and only then returns: no event of the guest can be missed.
// Where that fails, QEMU is dead and reaped before Start returns its error.
//
// How it ends is read from QMP events and, failing that, from the process:
//
//	a panic event, or a reset before AllowReboot
//	  after a panic was seen on the console       guest-panic
//	SHUTDOWN guest-shutdown                       powered-off
//	SHUTDOWN guest-reset (before AllowReboot)     crashed
//	Kill                                          killed
//	anything else                                 crashed, with QEMU's status and last words
//
// A panic is seen by the pvpanic-pci device once its modules are loaded in the
// guest. Before that (no init, a broken initramfs) the kernel resets at once
// (panic=-1), and the console's "Kernel panic - not syncing" line tells it
// from a plain reset. After [hv.Rebooter].AllowReboot a reset is an event and
// only the device counts: by then anyone may write that line to the console. A
// kernel without the device's driver, as Debian's for arm64, reboots by a panic.
//
// # Accelerator
//
// Where a spec says auto, Start settles it: KVM if a guest of a few bytes has
// really run on it ([Probe]), else TCG with the reason, which the VM tells
// through [hv.Accelerated]. The result is kept in the spec's cache file for as
// long as the host is up and QEMU's binary is the same.
//
// Under TCG a guest is told how fast its time-stamp counter runs, which is the
// host's: else it measures that against timers that a busy host lets tick late,
// and goes wrong, or hangs. A microvm has nothing else to keep time by, and
// without KVM is built only where the host's counter runs steadily.
//
// A guest of another architecture than the host's runs under TCG.
//
// # Concurrency
//
// Each VM has a goroutine that owns its story (run), one that reads QMP, one
// that waits for the process, one that serves vsock, and one for each stream
// that is drained. run emits every event; EventExit comes exactly once, last,
// after QEMU is reaped and its streams are read to the end. All goroutines are
// gone when the channel of events is closed.
//
// # Trust
//
// QEMU is held to be hostile once a guest has broken into it: its lines are
// bounded, its output is bounded, every call has a deadline. It runs under its
// seccomp sandbox with a scrubbed environment. Guest text that reaches an
// [hv.Exit] is cut and made printable.
package qemu
