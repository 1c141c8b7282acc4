// Package client is the engine's side of a VM host: it takes the machine's
// lock, launches a VM host that inherits it, talks to one that answers, and
// ends one that does not.
//
// # The lock
//
// A machine's lock file says whether a VM may live: it is held by the engine
// ([TakeLock]), then by the VM host and every process that touches the disks
// ([Launch] hands it down), and frees when the last of them is dead. It is a
// flock, which belongs to the open file and not to a process: so nobody ever
// unlocks it, and a copy is given up by closing it. The file is never unlinked
// here.
//
// # Errors
//
// [ErrHeld]: another holds the lock. [ErrGone]: nobody listens, or the VM has
// ended. [ErrMute]: somebody listens and did not answer in time. [ErrRefused]:
// nobody listens on that port of the guest. hv.ErrUnsupported: this VM host or
// its backend can't do that. context.DeadlineExceeded without ErrMute: the VM
// host answered that the guest did not in time.
//
// # Concurrency
//
// Everything here may be called from any goroutine. One request is one
// connection; nothing is kept between requests. Every call ends with its
// context; a call whose context has no deadline gets ten seconds, but for Wait
// and Find, which last as long as their context.
package client
