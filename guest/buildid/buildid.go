package buildid

import (
	"bytes"
	"debug/elf"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// How much of a file's notes is looked at, and what Go's is like.
const (
	maxNotes     = 4 << 10
	noteHead     = 12
	goBuildID    = 4 // the type of Go's note
	digestLength = 15
	shown        = 6
)

var errNone = errors.New("build id: the program has none of Go's")

// Of reads the name of a build from its program, an ELF file, little-endian.
func Of(program io.ReaderAt) (string, error) {
	file, err := elf.NewFile(program)
	if err != nil {
		return "", fmt.Errorf("build id: %w", err)
	}
	for _, p := range file.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > maxNotes {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err != nil {
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
