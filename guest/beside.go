package guest

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

const (
	// besideFrom is how much stdout comes in messages before a connection is
	// worth its dial.
	besideFrom = 256 << 10
	// besideTime bounds that dial; without it all goes on in messages.
	besideTime = 10 * time.Second
	besideSize = 256 << 10 // bytes read at once
)

// beside is the connection that much of a program's stdout comes on, past gRPC,
// which costs a guest several times what the bytes themselves do.
type beside struct {
	dial   Dialer
	key    []byte        // the agent's for this program; nil = it can't
	taken  int           // bytes of stdout that came in messages
	opened chan net.Conn // nil = none was asked for; closed = it could not be had

	copied chan error // nil = nothing comes on it
	n      int64
}

// takeStdout takes output that came in a message, and asks for a connection
// where there is much of it.
func (x *execution) takeStdout(b []byte) error {
	s := &x.beside
	if s.copied != nil {
		return fmt.Errorf("%w: stdout in two places", ErrProtocol)
	}
	if s.taken += len(b); s.taken > besideFrom && s.opened == nil && len(s.key) == wire.BesideKey && x.spec.Terminal == nil {
		s.opened = make(chan net.Conn, 1)
		go x.openBeside(s.opened, s.key)
	}
	return x.write(x.spec.Stdout, b)
}

// openBeside ends the connection with the exec, whatever becomes of both.
func (x *execution) openBeside(opened chan<- net.Conn, key []byte) {
	defer close(opened)
	ctx, cancel := context.WithTimeout(x.ctx, besideTime)
	defer cancel()
	c, err := x.beside.dial(ctx)
	if err != nil {
		return
	}
	context.AfterFunc(x.ctx, func() { c.Close() })
	opened <- c // before the agent can know of it
	if _, err := c.Write(append([]byte(wire.Beside), key...)); err != nil {
		c.Close()
	}
}

// turnBeside: what follows of stdout comes on the connection.
func (x *execution) turnBeside() error {
	s := &x.beside
	if s.opened == nil || s.copied != nil {
		return fmt.Errorf("%w: stdout beside a call that has no such place", ErrProtocol)
	}
	c, ok := <-s.opened // the agent's word for it came after the key
	if !ok {
		return fmt.Errorf("%w: stdout beside a call that has no such place", ErrProtocol)
	}
	s.copied = make(chan error, 1)
	w := x.spec.Stdout
	if w == nil {
		w = io.Discard
	}
	go func() {
		var err error
		s.n, err = io.CopyBuffer(onlyWriter{w}, onlyReader{c}, make([]byte, besideSize))
		if err != nil {
			x.cancel(err)
		}
		s.copied <- err
	}()
	return nil
}

// endBeside waits for the end of what comes beside, which is there already or
// under way: the agent has sent it before it says how much it was.
func (x *execution) endBeside(want int64) error {
	s := &x.beside
	if s.copied == nil {
		if want != 0 {
			return fmt.Errorf("%w: stdout beside a call that has no such place", ErrProtocol)
		}
		return nil
	}
	if err := <-s.copied; err != nil {
		return err
	}
	if s.n != want {
		return fmt.Errorf("%w: %d bytes of stdout are missing", ErrGone, want-s.n)
	}
	return nil
}

// onlyWriter and onlyReader keep io.Copy to its buffer: its short cuts move
// less at a time.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
