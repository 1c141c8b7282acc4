// Package journal keeps every change of every machine on disk, in order, before
// anyone is told of it. It is the only durable truth of an engine.
//
// # What holds
//
//   - [Journal.Append] returns after the records are synced. What it returned
//     survives every crash; what it refused left no trace.
//   - Records have consecutive sequence numbers from 1. Those of one Append are
//     there together or not at all, and a crash leaves a prefix of the history.
//   - A record that Table 1 forbids ([fsm.Machine.Apply]) can't get in.
//   - No reader sees a record that is not synced, although Pebble would show it.
//   - Damage is reported, never skipped: a journal that ends before its head
//     does not open, a record that can't be read is shown as unreadable and its
//     machine is marked [fsm.Machine.Damaged].
//   - Nothing is erased. A disk error on commit ends the process, because
//     Pebble reports success after one.
//
// # On disk
//
//	<dir>/LOCK      locked by whoever has the journal open, readers too
//	<dir>/db/       Pebble, format pinned (formatMajor); db.new while it is made
//	<dir>/head      where the journal ended after the last sync, see below
//	<dir>/ballast   space that is given up when the disk is full
//
// Keys; all integers are big-endian, machine ids are the 16 bytes of a UUID,
// the nil UUID stands for the engine itself:
//
//	e/ seq:8                      one record
//	m/ machine:16 seq:8           empty: which records a machine has
//	s/ machine:16                 the fold of a machine at some record
//	h/ seq:8 machine:16           a checkpoint: the fold of a machine at that record
//	h/ seq:8                      that all folds of this checkpoint are there
//	q/ principal / request        which record answered a request
//	x/format                      version of everything here
//	x/last                        last record, its hash, where the tail starts
//	x/name/ name / machine:16     empty: who ever had a name (lower case)
//	x/base                        reserved for compaction
//
// The principal in a q/ key has its slashes and percent signs escaped, so that
// two pairs never share a key.
//
// A record:
//
//	┌─────────┬───────┬────────┬──────────────────────────┬──────────┐
//	│version:1│ seq:8 │ time:8 │ CBOR map, integer keys   │ SHA-256  │
//	│  0, 1   │       │ ns     │ (type body), with the    │ of the   │
//	│         │       │        │ payload as its kind says │ e/ value │
//	│         │       │        │ (type fsm.Fact)          │ before:32│
//	└─────────┴───────┴────────┴──────────────────────────┴──────────┘
//
// The sequence number and the time stand outside of the CBOR so that a caller
// encodes its record in its own goroutine and the writer, which alone knows
// the two, and the hash, only fills them in. Version 0 is a gravestone: [Recover] puts
// one where a record was lost, with what is left of its bytes.
//
// The other values:
//
//	s/      version:1 CBOR of fsm.Machine
//	q/      version:1 seq:8 time:8 machine:16 kind
//	h/      as s/; without a machine: version:1 from:8 first:8 last:8 seq:8 machines:4
//	x/last  version:1 seq:8 hash:32 tail:8
//	x/format  version:1
//
// # Snapshots and the tail
//
// An s/ value may lag. x/last says where the tail starts: each machine's s/
// value holds all of its records before that, so that opening reads all s/
// values and then the records from there on. A machine's s/ value is written
// when its oldest record that is not in it is snapshotLag records old, in the
// batch that is being written anyway, and at Close. A removed machine loses
// its s/ value once the tail starts behind its end; it is folded from its
// records when somebody asks.
//
// # Checkpoints
//
// So that the past is found without folding from the first record, every 8,192
// records, or sixteen times as many as there are machines, the fold of all
// machines is kept under h/. A goroutine of its own (keepCheckpoints) writes it,
// from the machines in the writer's fold at that record, once the record is
// durable; the key without a machine comes last, and tells from when to when the
// records behind the checkpoint before are dated. Checkpoints are a cache.
//
// # The head
//
// After each sync the sequence number and hash of the last record go to one of
// two slots of the head file, in turn, with a checksum, in place. The file is
// not synced: after a crash it may lag, but it never leads. Where it does lead,
// Pebble lost records that it had promised to keep, and [Open] returns a
// [DamagedError]; [Recover] is the only way on.
//
// # Concurrency
//
// Append encodes in its caller's goroutine. One goroutine (write) takes all that
// is queued into one batch, holds it against Table 1, numbers, chains and hands
// it to Pebble, which syncs it. A second one (settle) waits for the sync, writes
// the head, publishes the new fold and the new durable sequence number under
// one lock, and only then answers. So the next batch is made while the one
// before is synced: write is ahead of what is durable, and its own fold too; the
// machines in the two folds are shared and never change. Everything exported may
// be called from any goroutine. An idle journal runs no timer.
package journal
