// Package vmhost is the process that owns one VM: arcbox-vmhost.
//
// # Start
//
// The engine starts it with a scrubbed environment, in a session of its own:
//
//	fd 0  the VM's spec: one line of JSON, "\n", the line's SHA-256 in hex, "\n", end of file
//	fd 1  bounded file host.out in the machine's directory
//	fd 2  bounded file host.err
//	fd 3  the machine's lock file, locked (flock) by the engine
//
// A spec that is cut short or does not match its checksum ends the process
// without a VM.
//
// # API
//
// It listens on <run dir>/h.sock (0600), peer uid its own or 0. One request a
// connection: a line of JSON, at most 64 KiB, answered by a line of JSON. The
// operations hello, wait, power-button, kill and dial are frozen for ever;
// what goes beyond them is listed in hello's "ops".
//
//	{"op":"hello"}                  → {"ok":true,"hello":{…}}
//	{"op":"wait","after":N}         → {"ok":true}, then a line an event with "seq" > N, the last of kind exit, then end of file
//	{"op":"power-button"}           → {"ok":true}
//	{"op":"kill"}                   → {"ok":true}: the VM is being killed; wait says when it is gone
//	{"op":"dial","port":P}          → {"ok":true}, then the connection is the guest's
//	{"op":"allow-reboot"}           → {"ok":true}   (announced)
//	{"op":"bridge","port":P}, with one descriptor (SCM_RIGHTS) → {"ok":true}: dials P and
//	      carries bytes between it and the descriptor, for as long as both live  (announced)
//
// A refusal is {"ok":false,"code":C,"error":"…"}; C is one of bad-request,
// unsupported, refused (nobody listens in the guest), timeout, gone, internal.
//
// # End
//
// Before it lets go of the lock it writes the exit note (exit.json in the
// machine's directory, synced, renamed). It leaves when the VM has ended. On
// SIGTERM it presses the power button and kills after 20 s.
package vmhost
