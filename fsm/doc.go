// Package fsm is the life of a machine as data: its states, the kinds of
// record that move it, and the three tables that decide what may happen and
// what must happen next. It does no I/O, reads no clock and starts nothing.
//
//   - Table 1 ([Transitions]): which record may follow in which state, and the
//     state that it leads to. A record that the table forbids can be neither
//     appended to a journal nor applied to a [Machine].
//   - Table 2 ([Repair]): what a booting engine appends, given what the journal
//     says of a machine and what the machine's lock and VM host say.
//   - Table 3 ([Restarts]): whether a machine that ended is started again.
//
// [Machine] is the fold of one machine's records. What a machine is owed
// ([Owed]) is a function of that fold and of nothing else, so that a booting
// engine and a running one take the same path.
//
// [Lifecycle] is a Machine whose moves go through looplab/fsm. The wrapper
// keeps the library's traps out of reach: no callbacks, no cancellable
// context, one row for each pair of event and source.
package fsm
