// Command bench measures what the engine promises to be fast and small at, and
// writes the result as a table. It runs the built binaries as a person would,
// each in a home of its own that is gone afterwards.
//
// Where something is held against a rival, both are measured in one run, turn
// by turn, so that what else the host does hits both: the ratio counts, the
// absolute figures are of that host at that time. Medians are shown. Nothing
// here passes or fails; what misses its aim says so in the table.
//
// libvirt is a rival where it is installed (libvirt-daemon,
// libvirt-daemon-driver-qemu, libvirt-clients): bench runs a libvirtd of its
// own, without privileges, in a directory of its own.
package main
