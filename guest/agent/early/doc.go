// Package early begins the boot of a machine while the rest of its first
// process is still being initialised: half of what loading the kernel's
// modules takes is then hidden behind the initialisation of gRPC (on two
// processors; on one nothing is lost).
//
// For that, and for nothing else, it acts when it is imported, and only in
// process 1: its init function starts a goroutine which mounts /proc and /dev and
// loads the modules. Go initialises packages in the order of
// their paths, each once its imports are there; this one imports so little that
// its turn comes before gRPC's. It must stay so: no fmt, no regexp, no slog.
//
// Nothing is logged here, since there is nowhere to log to yet: [Results] waits for
// the last module and tells what happened.
//
// # Modules
//
// /lib/modules.order has one path a line, dependencies first; a path that does
// not begin with / is below /lib/modules. /lib/modules.root, which only the
// initramfs of a machine with an image has, and /lib/modules.share, of one with
// shares, are further such lists, and are loaded at the same time. A module that is there already, or
// that has no device to serve, is no failure.
//
// # Fault
//
// The word arcbox.test=hang on the kernel's command line stops the machine
// here, with nothing loaded.
package early
