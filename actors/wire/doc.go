// Package wire holds the messages between the CLI and the engine
// (engine.proto). They travel as user messages of protoactor's Remoting
// service. Beside what the compiler made there are only the facts that both
// sides must agree on: which request goes to which actor, how big a message
// may be, and which exit code a refusal stands for.
package wire
