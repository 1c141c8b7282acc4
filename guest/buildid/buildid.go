package buildid

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Where things are in an ELF file of 64 bits, and how much of one is looked at.
const (
	headerSize   = 64
	programSize  = 56
	maxPrograms  = 64
	maxNotes     = 4 << 10
	noteProgram  = 4 // PT_NOTE
	noteHead     = 12
	goBuildID    = 4 // the type of Go's note
	digestLength = 15
	shown        = 6
)

var errNone = errors.New("build id: the program has none of Go's")

// Of reads the name of a build from its program, an ELF file of 64 bits.
func Of(program io.ReaderAt) (string, error) {
	var head [headerSize]byte
	if _, err := program.ReadAt(head[:], 0); err != nil {
		return "", fmt.Errorf("build id: %w", err)
	}
	if !bytes.HasPrefix(head[:], []byte("\x7fELF\x02\x01")) {
		return "", errors.New("build id: not an ELF file of 64 bits, little-endian")
	}
	order := binary.LittleEndian
	at, size, count := order.Uint64(head[32:]), order.Uint16(head[54:]), order.Uint16(head[56:])
	if size != programSize || count > maxPrograms || at > 1<<32 {
		return "", fmt.Errorf("build id: %d program headers of %d bytes at %d", count, size, at)
	}
	for i := range int64(count) {
		var p [programSize]byte
		if _, err := program.ReadAt(p[:], int64(at)+i*programSize); err != nil { //nolint:gosec // checked
			return "", fmt.Errorf("build id: %w", err)
		}
		from, length := order.Uint64(p[8:]), order.Uint64(p[32:])
		if order.Uint32(p[:]) != noteProgram || length > maxNotes || from > 1<<40 {
			continue
		}
		notes := make([]byte, length)
		if _, err := program.ReadAt(notes, int64(from)); err != nil { //nolint:gosec // checked
			return "", fmt.Errorf("build id: %w", err)
		}
		if id := find(notes); id != "" {
			return name(id)
		}
	}
	return "", errNone
}

// find finds Go's note among notes.
func find(notes []byte) string {
	for len(notes) >= noteHead {
		named, described := int64(binary.LittleEndian.Uint32(notes)), int64(binary.LittleEndian.Uint32(notes[4:]))
		kind, rest := binary.LittleEndian.Uint32(notes[8:]), notes[noteHead:]
		if pad4(named)+described > int64(len(rest)) {
			return ""
		}
		if kind == goBuildID && bytes.Equal(rest[:named], []byte("Go\x00\x00")) {
			return string(rest[pad4(named) : pad4(named)+described])
		}
		notes = rest[min(pad4(named)+pad4(described), int64(len(rest))):]
	}
	return ""
}

func pad4(n int64) int64 { return (n + 3) &^ 3 }

// name is the last part of Go's build id, of what the linker made, in hexadecimal.
func name(id string) (string, error) {
	digest, err := base64.RawURLEncoding.DecodeString(id[strings.LastIndexByte(id, '/')+1:])
	if err != nil || len(digest) != digestLength {
		return "", fmt.Errorf("%w that go build makes: %.100q", errNone, id)
	}
	return hex.EncodeToString(digest[:shown]), nil
}
