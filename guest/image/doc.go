// Package image keeps the images of machines: root file systems, each of them
// one EROFS file that is named by its digest and never changes.
//
//	<dir>/<digest>.erofs   the image, 0400
//	<dir>/<digest>.json    its Manifest; an image without one is not there
//	<dir>/names.json       which digest a name stands for
//	<dir>/lock             flock: shared by who is about to use an image,
//	                       exclusive by who adds or removes one
//	<dir>/stage/<key>      what a pull of one reference is making
//	<dir>/stage/<key>.lock flock: held by that pull as long as it lives
//
// The store is files of one user, and any of his processes may work on it: what
// they agree by is the kernel's locks, which end with the process that held
// them. Whatever a killed pull left is swept by the next one that gets its
// lock. A pull that is under way in another process is waited for; the waiter
// then finds the image, or pulls it itself. Package pull does the pulling.
//
// Everything appears by a rename of what is whole and synced: first the EROFS
// file, then its manifest, then the name. A crash between two of them leaves an
// image without a name, or a file that nobody knows and the next pull sweeps.
//
// # References
//
//	debian:12, alpine            a machine image of the simplestreams index
//	docker.io/library/alpine,
//	oci:alpine:3.22              an image of a container registry
//	./rootfs.tar.xz, https://…   a root file system as a tar
//
// # Who may remove an image
//
// Who records that a machine uses an image holds the lock shared (Hold) from
// before it looked the image up until the record is there. Remove and Prune
// take it exclusively and only then ask who uses it. So either the record is
// seen, or the image is gone before it is looked up.
package image
