// Package vz is the driver of Apple's Virtualization.framework. A VM of it lives
// in the process that made it, arcbox-vmhost, and ends with that.
//
// What calls the framework is in the files of darwin with cgo, and is thin: it
// implements machine, carries out a config, and translates errors (fault) and
// states. Everything else builds, and is tested, on every system: what a spec
// becomes (config), what states mean (story), the consoles, the sockets, the
// network's link, the order of a start and of an end. The tests run package
// hv/hvtest against a second machine, which has no framework.
//
// The framework's part is type-checked from Linux (cmd/internal/typetest), and has
// never run on a Mac. What only a Mac can show is listed in docs/macos.md.
//
// # What the guest gets
//
//	hvc0    the console; hvc1 the agent's log: two virtio consoles, always read
//	disks   virtio-blk by serial, raw files, host cache on, a flush is an fsync
//	network virtio-net, its frames relayed to the socket that the spec names
//	shares  virtiofs, by tag; Rosetta is one more, on Apple silicon
//	vsock   the framework's socket device
//
// A kernel that panics stops where it is, and the console tells: the framework
// does not say that a guest has reset, so a guest that resets just boots again.
//
// # Saving
//
// The framework saves a guest from a pause, of which nobody hears, and takes it back
// into a VM that is the same: so the config, with the VM's identity, is kept beside the
// file. Nobody can have it leave off: who does not wait any more gets the guest back when
// the file is written.
//
// # Sockets
//
// The framework connects without a deadline, and may never answer; so a dial runs
// beside its caller, of whom a bounded number wait. One stream that nobody reads
// holds up all the others of its VM, so every stream is read at once, into a
// window; where a window stays full for stallTime the stream is reset.
package vz
