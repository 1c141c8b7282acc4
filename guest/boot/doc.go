// Package boot prepares what a machine boots from: a kernel image and an
// initramfs whose /init is the guest agent.
//
// # From packages to files
//
// The kernel is the distribution's own. Its packages are downloaded and
// unpacked, never installed, so nothing of the host changes and no root is
// needed; so is busybox, where the host has no static one. Those of another
// architecture come by package lists of our own, and their assets lie in a
// directory of its name (<out>/arm64). From the
// unpacked tree, a static busybox and the agent's binary, Prepare makes one directory:
//
//	<out>/<digest>/kernel         ELF with the PVH entry, or the bzImage as it came
//	<out>/<digest>/initrd         uncompressed newc archive, padded to 4 bytes
//	<out>/<digest>/root           what goes behind it where a machine has an image
//	<out>/<digest>/modules        an EROFS of all modules, with what modprobe reads
//	<out>/<digest>/manifest.json  Assets, with paths relative to the directory
//
// The digest covers everything that goes in (kernel image, busybox, agent,
// the modules, the layout's version), so a second run finds its result
// and returns. A directory is made under another name and renamed when whole:
// a reader never sees half of one. The manifest's modification time says when
// it was last asked for; Find takes the newest.
//
// # Kernel
//
// QEMU enters an uncompressed ELF kernel at its PVH entry point about half a
// second sooner than it boots a bzImage under TCG. The ELF is the payload of
// the bzImage, found through the setup header. Where that can't be had (a
// compression that is not known here, no PVH note, another architecture), the
// image is used as it is.
//
// # Initramfs
//
//	/init               the agent
//	/lib/modules.order  modules to load, one absolute path a line, dependencies first
//	/lib/modules/<release>/<name>.ko
//	/bin/busybox        and a symlink for each of its applets
//	/arcbox             0700; the launch's secrets are put there by AppendToken
//
// The modules that only a machine with an image needs (Btrfs, EROFS, overlay) are
// most of all, so they are an archive of their own, with a list of its own:
// /lib/modules.root. So are those of a machine with shares: /lib/modules.share.
//
// Modules that a guest loads later, by modprobe or because a device is there, are in
// an EROFS, which a machine with an image has as a disk and mounts where modprobe
// looks. It is made once a kernel: a new agent's assets share it by a hard link. What
// modprobe reads beside the modules is made here too (package modindex).
//
// Modules are decompressed, and their order comes from the `depends` field
// that each carries: kernel packages hold no modules.dep. The same inputs give
// the same bytes.
//
// The kernel unpacks concatenated archives one over the other, so one launch's
// initramfs is what it shares with others, with a segment of a few hundred bytes behind it
// (AppendToken). A segment has to start at a multiple of 4.
//
// # Trust
//
// Packages come from apt, which has checked their signatures. Even so every
// size is bounded and every offset checked, because a damaged download must
// end in an error. All functions may be called from several goroutines and
// from several processes at once.
package boot
