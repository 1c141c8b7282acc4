// Package wire is what the engine, the CLI and the guest's agent say to each
// other: the gRPC service Agent (agent.proto) on vsock port 1024, and the
// preface that stands before it.
//
// # Preface
//
// Who connects sends 40 bytes: the magic "ARCBOX1\n" and the launch's token (32
// bytes). The agent answers one byte: 0x01 for welcome; anything else, or the
// end of the connection, is a refusal. Only then does gRPC begin. The VM host
// does this on every dial to the agent's port; its clients see gRPC at once.
//
// On vsock port 1022 the same preface stands before SSH.
//
// A client that sends "ARCBOXO\n" and a key of 16 bytes in the place of gRPC
// gets the stdout of the program that the key is of (ExecStarted), or the
// connection of the guest's (ListenReply), and nothing but that. One that sends "ARCBOXF\n" and a line is connected with a socket of
// the guest ([AskForward]).
package wire

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Protocol is the version of the agent's protocol that this build speaks.
const Protocol = 1

// Sizes of the preface and of messages.
const (
	TokenSize  = 32
	Magic      = "ARCBOX1\n"
	Beside     = "ARCBOXO\n" // as long as Magic; HTTP/2 begins otherwise
	BesideKey  = 16
	Welcome    = 0x01
	MaxMessage = 4 << 20  // bytes of one gRPC message
	MaxChunk   = 64 << 10 // bytes of stdin, stdout, stderr or ping payload in one message

	// Chunk is how many bytes a sender puts into one message: with its head it
	// fits one of gRPC's buffers of 32 KiB. The next larger ones have 1 MiB,
	// which is cleared for every message.
	Chunk = 32<<10 - 256

	// StdinWindow is how much stdin of one exec may be under way: sent, and
	// not yet given back by stdin_taken.
	StdinWindow = 256 << 10
)

// Abilities that an agent may have beyond the first ones of its protocol.
const (
	AbilityTerminal = "terminal" // ExecStart.terminal, ExecRequest.resize
	AbilityLogin    = "login"    // ExecStart.login
	AbilityCopy     = "copy"     // CopyOut, CopyIn
	AbilityBeside   = "beside"   // ExecStarted.beside_key
	AbilityAddress  = "address"  // Address
	AbilityTrim     = "trim"     // Trim
	AbilityShares   = "shares"   // Shares; only where the launch has any
	AbilityBoot     = "boot"     // AwaitBoot
	AbilityGrow     = "grow"     // Grow
	AbilityUnplug   = "unplug"   // Unplug
	// AbilityListeners is Listeners, and a forward to an address with a port.
	AbilityListeners = "listeners"
	// AbilityListen is Listen.
	AbilityListen = "listen"
	// AbilityProvision is Provision.
	AbilityProvision = "provision"
)

// Bounds of Provision.
const (
	MaxScript = 64 << 10 // bytes of a script, or of user-data
	MaxTail   = 4 << 10  // bytes of output that a result keeps
)

// MaxListeners is how many ports are told of at most.
const MaxListeners = 64

// MaxSocketPath is the longest path of a unix socket, in bytes.
const MaxSocketPath = 107

// MaxSide is the most rows or columns that a terminal has.
const MaxSide = 1<<16 - 1

// ErrRefused is the agent's answer to a wrong token.
var ErrRefused = errors.New("guest agent refused the token")

// SendPreface sends the preface and awaits the welcome. The caller bounds it
// by a deadline on the connection.
func SendPreface(c io.ReadWriter, token []byte) error {
	if len(token) != TokenSize {
		return fmt.Errorf("guest token: %d bytes, not %d", len(token), TokenSize)
	}
	if _, err := c.Write(append([]byte(Magic), token...)); err != nil {
		return fmt.Errorf("guest preface: %w", err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return fmt.Errorf("guest preface: %w", err)
	}
	if answer[0] != Welcome {
		return ErrRefused
	}
	return nil
}

// CheckPreface reads a preface and welcomes it if the token is right, in time
// that does not depend on how much of it is.
func CheckPreface(c io.ReadWriter, token []byte) error {
	var buf [len(Magic) + TokenSize]byte
	if _, err := io.ReadFull(c, buf[:]); err != nil {
		return fmt.Errorf("guest preface: %w", err)
	}
	want := append([]byte(Magic), token...)
	if subtle.ConstantTimeCompare(buf[:], want) != 1 {
		return ErrRefused
	}
	if _, err := c.Write([]byte{Welcome}); err != nil {
		return fmt.Errorf("guest preface: %w", err)
	}
	return nil
}
