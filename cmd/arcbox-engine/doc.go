// Command arcbox-engine is the daemon: it creates, runs and looks after Linux
// machines. It wires the journal, the actors, the VM hosts and the endpoint
// together, and does nothing else.
//
//	arcbox-engine                     serve until it is told to stop
//	arcbox-engine prepare             make a kernel and an initramfs ready
//	arcbox-engine journal …           read the journal while no engine runs
//
// One engine has one data directory, by its lock. SIGTERM and SIGINT end the
// engine; the machines run on.
package main
