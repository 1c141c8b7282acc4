package agent

import (
	"encoding/binary"
	"fmt"
)

// The terminal modes of a pty-req are pairs of an opcode and a number, up to
// opcode 0 (RFC 4254, 8). Opcodes from 160 up have no number that is known.
const (
	modesEnd   = 0
	modesKnown = 160
)

// terminalMode is one of them.
type terminalMode struct {
	opcode byte
	value  uint32
}

// parseTerminalModes reads a client's modes. There are at most as many as there
// are opcodes, for one that is said twice is a fault.
func parseTerminalModes(b []byte) ([]terminalMode, error) {
	var modes []terminalMode
	var seen [modesKnown]bool
	for len(b) > 0 && b[0] != modesEnd && b[0] < modesKnown {
		if len(b) < 5 {
			return nil, fmt.Errorf("terminal modes: opcode %d has no value", b[0])
		}
		if seen[b[0]] {
			return nil, fmt.Errorf("terminal modes: opcode %d twice", b[0])
		}
		seen[b[0]] = true
		modes = append(modes, terminalMode{b[0], binary.BigEndian.Uint32(b[1:5])})
		b = b[5:]
	}
	return modes, nil
}
