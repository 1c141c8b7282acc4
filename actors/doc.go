// Package actors is the engine: the supervisor, one actor for each machine,
// and the journal's actor.
//
// # Who owns what
//
// The supervisor owns names and CIDs. It waits for nothing: it reserves, lets
// the machine's actor append, and takes back what the actor gives back. A
// machine's actor is the only writer of that machine's state. Readers take
// from the [View], which is published after each record; no actor is asked, no
// VM is probed, so that one hung VM can't delay a list.
//
// # One path
//
// A request becomes a typed refusal, or a record that Table 1 allows. The
// record is appended (synced), applied, published, and only then answered.
// What the new state owes (fsm.Owed) runs in workers. A worker posts its
// result back; the result counts only where the duty that it was started for
// is still owed. At boot the same function says what is owed, after Table 2
// has settled what the lock and the VM host say, so that there is no second
// code path. An actor waits for nothing but its own append.
//
// # Pace
//
// What a guest can cause (rebooted, health-changed) is written at once up to a
// burst and then at most once in an interval, so that no guest fills the
// journal: reboots are counted in the next such record, and of the health the
// last word is written, which till then may be one interval old.
//
// # Locks
//
// A machine's lock is held by the engine from before start-requested until the
// VM host is spawned, and again from the VM's end until exited is appended.
// The watch duty alone takes it back; whatever else ends a VM only kills.
//
// # Time
//
// Deadlines are moments of the [Clock]: monotonic time and host boot id. Tests
// drive a fake clock. Nothing here calls time.Now.
package actors
