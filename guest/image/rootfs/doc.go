// Package rootfs turns tars into one EROFS file: a root file system, or the
// layers of a container image, which it merges.
//
// Nothing is ever unpacked. Names, links and devices live in a tree in memory
// and then in the image; the only file that is written is the image itself, so
// a tar can't reach outside whatever its names say. What a tar says is still
// checked, because the image has to be right too:
//
//   - A name may not have "..", nor a hard link's target. A name that begins
//     with a slash begins at the root of the image.
//   - A symbolic link's target is data for the guest and kept as it is. Where
//     one is the parent of a later name it is followed, inside the image.
//   - A hard link needs its target to be there already, and no directory.
//   - The last entry of a name counts. A directory that comes again keeps what
//     is in it.
//   - Parents that have no entry are root's, 0755, of 1970.
//   - Extended attributes of namespaces that no Linux keeps are left out.
//
// Several layers are read twice: once for the names, which says what is left of
// each layer, and once for the data of that, so that the image holds nothing
// that a later layer removed.
package rootfs
