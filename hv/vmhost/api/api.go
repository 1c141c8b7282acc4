// Package api is the format of what an engine and a VM host say to each other:
// the lines on the socket, the exit note, the names of files and sockets. Its
// documentation is that of package hv/vmhost. Its golden bytes are kept: a
// newer engine talks to older VM hosts.
package api

import (
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Names of files in a machine's directory, and of sockets in its run directory.
const (
	LockFile     = "lock"
	NoteFile     = "exit.json"
	TokenFile    = "token"
	InitrdFile   = "initrd"
	SavedFile    = "saved"                     // its guest, written by save
	SavedStage   = SavedFile + hv.StageSuffix  // while it is written
	SavedConfig  = SavedFile + hv.ConfigSuffix // beside it, of some drivers
	ConsoleFile  = "console.log"               // and console.log.1, the older half
	AgentLogFile = "agent.log"                 // and agent.log.1
	OutFile      = "host.out"
	ErrFile      = "host.err"

	HostSocket  = "h.sock"
	VsockSocket = hv.VsockSocket
	LinkSocket  = "n.sock" // where the hypervisor takes the network's frames
)

// LaunchMark begins the line on a console with which each launch begins.
const LaunchMark = "[arcbox] launch "

// MaxLine is the longest request or answer, in bytes, its newline included.
const MaxLine = 64 << 10

// Op names an operation.
type Op string

// The operations.
const (
	OpHello       Op = "hello"
	OpWait        Op = "wait"
	OpPowerButton Op = "power-button"
	OpKill        Op = "kill"
	OpDial        Op = "dial"
	OpAllowReboot Op = "allow-reboot" // announced
	OpBridge      Op = "bridge"       // announced
	OpGrow        Op = "grow"         // announced
	OpPause       Op = "pause"        // announced
	OpResume      Op = "resume"       // announced
	OpSave        Op = "save"         // announced
)

// Request is one line from an engine.
type Request struct {
	Op    Op     `json:"op"`
	After uint64 `json:"after,omitempty"`
	Port  uint32 `json:"port,omitempty"`
	// Timeout is how long a dial or bridge may take, in milliseconds; 0 =
	// DefaultTimeout.
	Timeout int64 `json:"timeout_ms,omitempty"`
	// Disk is the serial of the disk to grow, and Size what it is to have, in bytes.
	Disk string `json:"disk,omitempty"`
	Size int64  `json:"size,omitempty"`
}

// Code says why a request was refused.
type Code string

// The codes.
const (
	CodeBadRequest  Code = "bad-request"
	CodeUnsupported Code = "unsupported"
	CodeRefused     Code = "refused"
	CodeTimeout     Code = "timeout"
	CodeGone        Code = "gone"
	CodeInternal    Code = "internal"
)

// Answer is one line from a VM host.
type Answer struct {
	OK    bool   `json:"ok"`
	Code  Code   `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
	Hello *Hello `json:"hello,omitempty"`
}

// Hello says who answers.
type Hello struct {
	Machine string          `json:"machine"`
	Launch  string          `json:"launch"`
	CID     hv.CID          `json:"cid"`
	Backend hv.Backend      `json:"backend"`
	Accel   hv.Accel        `json:"accel,omitempty"`
	Note    string          `json:"note,omitempty"` // e.g. why not KVM
	Board   hv.Board        `json:"board,omitempty"`
	Version string          `json:"version"` // of arcbox-vmhost
	Started time.Time       `json:"started"`
	Ops     []Op            `json:"ops"` // beyond the frozen ones
	Can     hv.Capabilities `json:"can"`
	// Shares are those of the spec, where the VM tells.
	Shares []hv.ShareState `json:"shares,omitempty"`
	// Events is the seq of the last event so far.
	Events uint64 `json:"events"`
}

// Event is one line of wait.
type Event struct {
	Seq uint64 `json:"seq"`
	hv.Event
}

// Note is the exit note.
type Note struct {
	Version int    `json:"version"` // 1
	Machine string `json:"machine"`
	Launch  string `json:"launch"`
	hv.Exit
}
