package vz

import (
	"net"
	"os"
)

// state is what the framework says of a VM.
type state string

// The framework's states.
const (
	stateStopped   state = "stopped"
	stateStarting  state = "starting"
	stateRunning   state = "running"
	statePausing   state = "pausing"
	statePaused    state = "paused"
	stateResuming  state = "resuming"
	stateStopping  state = "stopping"
	stateSaving    state = "saving"
	stateRestoring state = "restoring"
	stateError     state = "error"
)

// over tells whether a VM in that state has ended.
func (s state) over() bool { return s == stateStopped || s == stateError }

// deed is what a VM can be told.
type deed string

// The deeds.
const (
	deedStart  deed = "start"
	deedPause  deed = "pause"
	deedResume deed = "resume"
	deedAsk    deed = "ask the guest to stop"
	deedStop   deed = "stop"

	deedSave    deed = "save"    // to a file; it stays paused
	deedRestore deed = "restore" // from a file, in the place of a start; it is paused then
)

// machine is a VM of the framework, or what stands for one in tests. Do, Connect
// and Accept are the framework's, which may never return from them.
type machine interface {
	// May tells whether the VM can be told that in the state of now.
	May(deed) bool
	// Do tells it, and returns when the framework has done so. The file is of save and
	// restore.
	Do(d deed, file string) error
	// States yields every state behind the first. It is one channel, of one
	// reader, and is never closed.
	States() <-chan state
	// Connect connects to a vsock port of the guest.
	Connect(port uint32) (stream, error)
	// Accept hands over the guest's connections to a vsock port of the host, for
	// as long as the VM lives.
	Accept(port uint32, take func(stream)) error
}

// stream is one connection to the guest, as the framework gives it: a socket.
type stream struct {
	net.Conn
	CloseWrite func() error
	Local      uint32 // the host's port
	Remote     uint32 // the guest's
}

// wires are the files that the framework has of a VM. They are the driver's, and
// stay open until the VM has ended: the framework keeps numbers of descriptors
// only.
type wires struct {
	Null         *os.File // what the consoles read: nothing
	Console, Log *os.File // to write to
	Network      *os.File // a datagram socket, a frame each; nil = none
}

// framework makes machines.
type framework struct {
	Make   func(config, wires) (machine, error)
	Limits func() limits
	// Identify makes an identity for a VM, by which its guest can go on in another.
	Identify func() ([]byte, error)
	Saves    bool // its VMs can be saved
}
