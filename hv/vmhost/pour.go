package vmhost

import (
	"errors"
	"io"
)

// Buffers of one direction of a joined connection. Each has a small one; what fills
// it gets a large one, as long as there are any: many idle connections cost little,
// and all that may be open stay bounded, whatever they carry.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
	maxLarge    = 128 // of all connections
)

// pourer lends large buffers.
type pourer struct{ large chan struct{} }

func newPourer() pourer { return pourer{make(chan struct{}, maxLarge)} }

// pour copies until the end of from.
func (p pourer) pour(to io.Writer, from io.Reader) error {
	small := make([]byte, smallBuffer)
	buf := small
	defer func() { p.giveBack(buf) }()
	for {
		k, err := from.Read(buf)
		if k > 0 {
			if _, werr := to.Write(buf[:k]); werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case k == len(buf):
			buf = p.lend(buf)
		case k <= smallBuffer && len(buf) > smallBuffer:
			p.giveBack(buf)
			buf = small
		}
	}
}

// lend is a large buffer in place of a small one, where there is any.
func (p pourer) lend(buf []byte) []byte {
	if len(buf) > smallBuffer {
		return buf
	}
	select {
	case p.large <- struct{}{}:
		return make([]byte, largeBuffer)
	default:
		return buf
	}
}

func (p pourer) giveBack(buf []byte) {
	if len(buf) > smallBuffer {
		<-p.large
	}
}
