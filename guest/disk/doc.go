// Package disk makes the data disks of machines: sparse files with an empty
// Btrfs, without root and without a tool of the host.
//
// An empty file system of 109 MiB, the smallest that mkfs.btrfs makes, is
// embedded: template.btrfs.zst, 5.5 KB. [Make] unpacks it, gives it an identity
// of its own, and makes the file as long as the disk is to be; the guest grows the
// file system into it when it mounts it (BTRFS_IOC_RESIZE). The template was made
// once, with btrfs-progs 6.2, and is read by every Linux since 5.15:
//
//	truncate -s 114294784 t && mkfs.btrfs -m single -d single t && zstd -19 t
//
// # Identity
//
// Every block of the file system holds the template's id, so that one is kept, as
// the id of the metadata, and a new one is put beside it: the feature METADATA_UUID
// is what btrfstune -m uses too.
//
// [Copy] gives a copy an id of its own in the same way, in each superblock that there
// is: two file systems of one id, seen by one kernel, would be taken for one.
//
// # Never twice
//
// Make never touches a file that is there. A disk appears by a rename of what is
// whole and synced, so that one under its final name was made completely, and a
// guest may have written to it.
//
// # Disks of the user
//
// Of the further disks that a machine may have, files and devices of the user,
// only [Usable] is here: what both the command and the engine look for.
package disk
