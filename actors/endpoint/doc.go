// Package endpoint is the engine's door: a gateway that serves protoactor's
// Remoting service on a unix socket, and a second socket on which byte streams
// are opened by ticket.
//
// # Why our own
//
// A stock remote server dies of one malformed batch, believes the sender that
// a peer claims, dials addresses that a peer names and stops actors for it.
// The gateway is a boundary: it takes clients only, gives each stream an
// address (client:<n>), and shows protoactor nothing that it has not checked.
//
// # What passes
//
// A user message of a listed type, to a listed actor, at the address "engine",
// with serializer 0 and a sender. The sender becomes PID{client:<n>, id}, the
// client's headers are dropped, and the header [HeaderPrincipal] says who asks:
// "uid:<n>", from the kernel. System messages, watches, stops and poison pills
// are of no listed type. See [Principal].
//
// A message that is well formed but not acceptable is answered with a
// wire.Refused. A breach of the protocol (an index out of range, a foreign
// address, a second ConnectRequest, …) closes the stream with InvalidArgument.
// Both are logged, once.
//
// # Bounds
//
// Connections, those of one process, streams, the size of a message, envelopes
// in a batch, requests without an answer and answers not yet read are all
// counted ([Limits]). A client that asks faster than it reads loses its stream
// (ResourceExhausted); it never holds up an actor, nor makes one's mailbox grow.
// All streams together hold at most 64 MiB of requests without an answer and of
// unread answers, which are there up to three times while they are written; the
// stream that holds the most goes first. A connection costs two goroutines and
// some 20 KiB, a stream two more; there are at most 256 connections, half of
// them of one process, with 4 streams each.
//
// # Concurrency
//
// A stream has two goroutines. The reader checks and delivers, and when it
// ends it sends wire.ClientGone to every target, after the last message of that
// client. The writer turns replies into bytes, so a message that was sent to a
// client must not be changed afterwards. An actor that sends to a client never
// waits.
//
// # Tickets
//
// Bytes don't go through mailboxes. An actor that has allowed a byte stream
// gets a ticket from [Tickets.Issue] and replies with it. The client connects
// to the ticket socket and sends the ticket (64 hexadecimal digits) and a
// newline; the answer is the line "ok" or "error: …". After "ok" the
// connection belongs to the function that was given to Issue. A ticket is good
// once, for ten seconds, for the user who asked for it. At most 4,096 are out
// (the oldest goes), and 512 connections open, half of them of one process.
package endpoint
