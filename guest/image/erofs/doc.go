// Package erofs writes EROFS file systems: read-only, uncompressed, of 4 KiB
// blocks, which every Linux since 5.4 mounts. It needs neither root nor a host
// tool, keeps all that a tar can say (owners, modes, times to the nanosecond,
// extended attributes, hard links, devices), and the same input gives the same
// bytes.
//
//	block 0        superblock, written last
//	blocks 1…d     the data of files, in the order in which it came
//	blocks d+1…    directories and links that are too big for their inode
//	the rest       inodes, each with its attributes and, where they fit, the
//	               last bytes of its data
//
// Data goes straight to the output; the tree, and the tails of files up to a
// budget, stay in memory until Close. What is no longer reachable from the root
// then has no inode, so a caller may change its mind about the tree (not about
// data that it wrote, which would be dead weight).
//
// Every inode is of the extended form (64 bytes): the short one has no time.
package erofs
