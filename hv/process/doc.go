// Package process is what the engine's long-lived processes have in common,
// the VM hosts and the network process: what they get handed down and how they
// take it over, and the socket that they are asked on.
//
//	fd 0  what to do: one line, "\n", the line's SHA-256 in hex, "\n", end of file
//	fd 1, 2  bounded files
//	fd 3  a lock file, locked (flock) by the engine
//
// What is cut short, or does not match its checksum, ends the process before it
// touches anything, and so does a descriptor 3 that is not the lock file, or
// does not have its lock. Of the environment PATH and TMPDIR are kept. Who
// connects is the process's own user, or root, by the kernel's word; a lack of
// descriptors ends no listener.
package process
