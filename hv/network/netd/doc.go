// Package netd is the network process: arcbox-netd, one an engine. It runs
// package hv/network for the machines that the engine tells it of, and holds
// their forwards.
//
// # Life
//
// It is started by the engine, as a VM host is (package hv/process), with the
// network's lock at descriptor 3, and outlives it: machines keep their network
// while no engine is there, and the next engine finds it at its socket. It keeps
// nothing on disk. Where it dies, the engine starts it again and tells it all
// anew; hypervisors listen for it, so that no VM notices more than a pause.
//
// It ends by itself when it has had nothing to do for a while: no machine
// belongs to it, or no engine is there and no hypervisor either.
//
// # Forwards
//
// A TCP or a unix socket of the host leads through the machine's VM host and
// agent, so that services of the guest's own loopback can be reached; its bytes
// pass through this process and not through the engine. Datagrams go through the
// network. A socket that can't be had is tried again, and says why.
//
// A socket inwards is the agent's, in the guest; this process opens both ends of each
// connection, that of the host at the path that the engine has said.
//
// Where an engine wants automatic ports for a machine, the process asks the guest's
// agent by itself what is listened at, and has a forward of each for as long. What
// the engine said goes first.
//
// # Session
//
// The format is that of package hv/network/api. What an engine sets is checked,
// for it may be of another version; what a hypervisor sends is hostile.
package netd
