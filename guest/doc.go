// Package guest is the engine's side of a machine's agent: one [Client] over
// one connection, and the wait until a guest is ready.
//
// A connection comes from a [Dialer], which hides the hypervisor, and begins
// after the token's preface: the VM host has sent that. gRPC runs over exactly
// this connection; when it ends, the client's calls fail with [ErrGone], and
// whoever wants to go on connects again. Nothing is dialled behind the
// caller's back, for the new end of a dial may be another launch's guest.
//
// A guest is not trusted: messages are bounded (package wire), texts that are
// shown or journaled are short and printable, an agent of a foreign protocol is
// refused with [ErrProtocol]. A guest that answers nothing holds up only its
// own caller, until that caller's context is over.
//
// A Client may be used by several goroutines.
package guest
