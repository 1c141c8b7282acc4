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
// without a VM (exit status 2), and so does a descriptor 3 that is not the
// machine's lock file, or does not have its lock. Of the environment PATH and
// TMPDIR are kept. What the process prints is bounded.
//
// # Processes
//
// On Linux what a driver starts (hv.Env.Fork) gets a parent-death signal, which
// follows the thread that forked. So every start is carried to the main
// goroutine, which init ties to the main thread; Run must be called there. The
// VM host itself has none: it outlives its engine.
//
// # Consoles
//
// What the guest prints goes to console.log and agent.log, each at most
// spec.Console bytes, with an older half (….1) of the same size. Each launch
// begins with a line of its own. What can't be written is dropped.
//
// # API
//
// It listens on <run dir>/h.sock (0600), peer uid its own or 0. One request a
// connection: a line of JSON, at most 64 KiB, answered by a line of JSON. Where
// too many say nothing, the one that has been silent longest is cut off. The
// operations hello, wait, power-button, kill and dial are frozen for ever;
// what goes beyond them is listed in hello's "ops".
//
//	{"op":"hello"}                  → {"ok":true,"hello":{…}}
//	{"op":"wait","after":N}         → {"ok":true}, then a line an event with "seq" > N, the last of kind exit, then end of file
//	{"op":"power-button"}           → {"ok":true}
//	{"op":"kill"}                   → {"ok":true}: the VM is being killed; wait says when it is gone
//	{"op":"dial","port":P}          → {"ok":true}, then the connection is the guest's
//	{"op":"allow-reboot"}           → {"ok":true}   (announced)
//	{"op":"grow","disk":SERIAL,"size":N} → {"ok":true}: the disk has N bytes or more  (announced)
//	{"op":"pause"}, {"op":"resume"} → {"ok":true}: the guest is held still, or goes on  (announced)
//	{"op":"save"}                   → {"ok":true}: the guest is written to the file saved in the machine's
//	      directory, and the VM ends, with the cause saved  (announced)
//	{"op":"bridge","port":P}, with one descriptor (SCM_RIGHTS) → {"ok":true}: dials P and
//	      carries bytes between it and the descriptor, for as long as both live  (announced)
//
// dial and bridge may carry "timeout_ms" (at most 60,000; 10,000 where it is
// missing). A dial of the agent's port sends the token (package guest/wire) and
// is answered after the agent's welcome; until then it is tried again where the
// guest ends the connection. Who asked takes a request back by closing, or
// half-closing, before the answer. Until the driver has started the VM only
// kill is answered, the others wait; once it has ended only wait is answered.
// Of the events the last 256 are kept.
//
// A refusal is {"ok":false,"code":C,"error":"…"}; C is one of bad-request,
// unsupported, refused (nobody listens in the guest), timeout, gone, internal.
//
// # End
//
// Before it lets go of the lock it writes the exit note (exit.json in the
// machine's directory, synced, renamed), into space that it set aside at the
// start. Then it tells who waits, removes its sockets, and leaves. On SIGTERM
// it lets a guest go on that is held still, presses the power button, and kills after
// 20 s. Its exit status is 0 where
// the VM ran, 1 where it did not start.
package vmhost
