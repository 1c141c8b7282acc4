// Package modindex makes what modprobe reads beside the modules of a kernel: the
// files modules.* that depmod writes. A kernel's packages hold none of them, and a
// host need not have depmod.
//
// Each index is there twice. As text, which busybox reads:
//
//	modules.dep      path: the paths of all that has to be there before, the last first
//	modules.alias    what devices, file systems and protocols ask for, by wildcard
//	modules.symbols  which module has a symbol
//
// and as a trie, modules.*.bin, which is all that libkmod reads, and with it kmod,
// systemd and udev. modules.builtin.bin and modules.builtin.alias.bin say what needs
// no module, and modules.softdep what else should be loaded.
//
// depmod's modules.devname, the device nodes that are there before their module is
// and have it loaded when they are opened, is called modules.nodes here and is the
// agent's to read: where there is one of the other name, systemd calls kmod to read
// it, and counts an image without kmod as degraded.
//
// # The trie
//
// All numbers are of 32 bits, big endian: a magic number, the version, where the root
// is. A node comes behind those that it leads to. The upper bits of the number that
// says where a node is say which of its parts there are:
//
//	prefix  bytes that all keys below share, ended by NUL
//	edges   the first and the last byte that a key may go on with, and for each byte
//	        from one to the other where its node is, or 0
//	values  how many, and of each its priority and its bytes, ended by NUL
//
// The same modules give the same bytes. The package reads and writes no files.
package modindex
