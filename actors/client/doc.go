// Package client is the CLI's side of the engine's socket: an actor system
// that opens no port, sends to the PIDs "supervisor" and "journal" at the
// address "engine", and gets its answers on the connection that it made.
//
// # Asking
//
// [Client.Ask] sends one request and waits for its reply; [Call] also gives it
// its type. A wire.Refused becomes a [RefusedError]. The connection is not
// made again behind the caller's back: once it is lost, every Ask fails with
// [ErrDisconnected]. What may be repeated without harm is repeated by those
// who know so: [Command] (by request id) and [Client.Follow] (by seq).
//
// # Following
//
// Records come while there is credit. Half of it used up, it is granted again,
// after the caller's function has returned: a slow reader slows the engine's
// reading of the journal, and nothing piles up between. After a reconnect the
// stream goes on behind the last record that was handed over, so that none is
// missed and none comes twice.
//
// # Concurrency
//
// A Client may be used by many goroutines. One goroutine reads; it never
// waits for a caller. Each request has a mailbox of its own, a process in the
// actor system. protoactor's futures are not used: a reply that meets the
// timeout is a data race there.
package client
