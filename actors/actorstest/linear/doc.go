// Package linear checks that many clients of one engine see one engine: that
// all their answers fit one order, in which each command takes effect between
// its being sent and its being answered (linearizability), crashes of the
// engine in the middle included.
//
//   - [Client] is one client: it types random commands on its own connections
//     and notes each with its times, as an [Op].
//   - [History] is what all clients noted of one engine. Its Check hands every
//     name, and every CID, to porcupine with a sequential model: a name is
//     absent, or it is one machine in one state; refusals are observations; a
//     command without an answer may have happened at any time, or not at all.
//   - [Walk] checks the journal itself, whose order is known: no name and no CID
//     with two holders, no request carried out twice.
//
// A command that takes time (start, stop, restart, rm -f) is several steps of
// the model, in their order, of which only the last is certain; a machine moves
// only by a step of a command that is under way, or because it was lost in a
// crash that the history names.
package linear
