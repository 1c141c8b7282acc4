// Package wire holds the messages between the CLI and the engine
// (engine.proto). They travel as user messages of protoactor's Remoting
// service; package actors/endpoint lists which of them may arrive, and at
// which actor. There is no code here but what the compiler made.
package wire
