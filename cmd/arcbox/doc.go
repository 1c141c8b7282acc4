// Command arcbox is what people type: it creates, starts, stops and looks at
// machines, and reads the journal.
//
// It holds no state and decides nothing. Each verb is one message to the
// engine (package actors/client) and a way to print the answer; the engine
// validates again whatever is validated here. Only image works on files
// itself, in the store that all processes of a user share. It links no journal and no
// driver, and keeps its start light, because scripts call it in loops.
//
// # Which engine
//
// A context (--context, ARCBOX_CONTEXT, context use) names the engine of another
// host. It is reached through the system's ssh, which runs "engine dial-stdio"
// there: once for the endpoint, and once for each byte stream.
//
// One engine serves one home (package cmd/internal/home): ARCBOX_HOME or
// --home, else the XDG directories. Where nobody listens, arcbox starts
// arcbox-engine in a session of its own and waits until it answers; two
// commands that do so at once are harmless, since the engine's own lock
// decides which of the two stays. journal, engine, version, completion and
// help start nothing, and --no-autostart keeps the others from it.
//
// # Output
//
// What was asked for goes to standard output, everything else (notes,
// progress, errors) to standard error. Progress is drawn on a terminal only.
// --format json prints one document for a question, one array for a list, and
// one object a line for what may go on (journal --follow, several names).
// Sizes in JSON are bytes, times RFC 3339 in UTC, durations of a boot
// milliseconds; names of fields are only ever added. With --format json an
// error is one JSON object on standard error:
//
//	{"error":{"code":"not-found","exit":3,"message":"…","hint":"…"}}
//
// What cp takes out of a machine is a hostile guest's: package guest/tree keeps
// it below its target.
//
// Text that comes from a guest or a file is printed with its control
// characters replaced, so that it can't drive the reader's terminal.
//
// # Exit codes
//
//	0 done   1 failed   2 usage   3 not found   4 conflict or wrong state
//	5 timeout   6 no engine   7 refused for safety   130 interrupted
//
// ssh becomes the system's ssh, whose code is its own. exec and shell differ: the guest's status, 128+n where signal n ended the program,
// 124 past the time limit, and 125 for any fault of its own.
//
// Ctrl-C ends the waiting, never the work: what was asked of the engine goes
// on. It does end image pull and import, which are this process's own. In exec and shell the signal goes to the program in the guest.
package main
