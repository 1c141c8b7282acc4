// Package kernel is the store of kernels that machines may boot from beside the
// distribution's own, which needs no store and is called [Default].
//
// A bundle is a directory, or a tar of one:
//
//	manifest.json            what it is, and the digest of each of its files,
//	                         of the modules together, and of all
//	boot/vmlinuz-RELEASE     the image
//	lib/modules/RELEASE/     what depends on the release; a kernel that has
//	                         everything built in needs only modules.builtin
//
// It is the shape of an unpacked kernel package, so that package guest/boot makes
// boot assets of both in the same way. Whatever a bundle holds beside what its
// manifest lists is left behind. A bundle is copied, checked, synced, and only
// then gets its name by a rename: one that has a name is whole.
//
// The manifest also holds what boots of it showed ([Boots]): on which board, how
// many, how many hung, how long they took. That is what decides the board of
// machines that leave it to the engine ([Manifest].Board).
//
// Stores may be many in many processes: changes hold a lock on a file.
package kernel
