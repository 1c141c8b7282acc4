package tree

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// On a connection that knows no messages each part stands behind its length, four
// bytes, the highest first. A length of 0 is the end; one with the highest bit set
// is that of a text that says why nothing more comes.
const (
	failedBit = 1 << 31
	maxPart   = wire.MaxChunk + 8<<10 // a piece, or an entry with its link's target
	maxWhy    = 4 << 10
)

// Into writes parts to a connection. End has to follow.
func Into(w io.Writer) Sink {
	var buf []byte
	return func(p *wire.CopyPart) error {
		var err error
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(append(buf[:0], 0, 0, 0, 0), p); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		binary.BigEndian.PutUint32(buf, uint32(len(buf)-4)) //nolint:gosec // a sender's part is a chunk and little more
		_, err = w.Write(buf)
		return err
	}
}

// End tells the other side that all has come, or why it has not.
func End(w io.Writer, why error) error {
	head := []byte{0, 0, 0, 0}
	if why != nil {
		text := strings.ToValidUTF8(why.Error(), "\uFFFD")
		text = text[:min(len(text), maxWhy)]
		binary.BigEndian.PutUint32(head, failedBit|uint32(len(text))) //nolint:gosec // cut just now
		head = append(head, text...)
	}
	_, err := w.Write(head)
	return err
}

// FailedError is what the other side of a connection says went wrong there.
type FailedError struct{ Why string }

// Error implements error.
func (e *FailedError) Error() string { return e.Why }

// From reads what Into and End wrote. Where the connection ends before the end was
// said, the error is io.ErrUnexpectedEOF.
func From(r io.Reader) Source {
	b := bufio.NewReaderSize(r, maxPart)
	var buf []byte
	return func() (*wire.CopyPart, error) {
		var head [4]byte
		if _, err := io.ReadFull(b, head[:]); err != nil {
			return nil, cutShort(err)
		}
		n := binary.BigEndian.Uint32(head[:])
		failed := n&failedBit != 0
		switch n &^= failedBit; {
		case n == 0 && !failed:
			return nil, io.EOF
		case failed && n > maxWhy, n > maxPart:
			return nil, brokenParts("a part of %d bytes, at most %d", n, maxPart)
		}
		buf = append(buf[:0], make([]byte, n)...)
		if _, err := io.ReadFull(b, buf); err != nil {
			return nil, cutShort(err)
		}
		if failed {
			return nil, &FailedError{Why: strings.ToValidUTF8(string(buf), "\uFFFD")}
		}
		p := &wire.CopyPart{}
		if err := proto.Unmarshal(buf, p); err != nil {
			return nil, brokenParts("%v", err)
		}
		return p, nil
	}
}

// cutShort is the end of a connection in the middle.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("copy: %w", err)
}
