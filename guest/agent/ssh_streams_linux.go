package agent

import (
	"io"

	"golang.org/x/crypto/ssh"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// feedFrom passes a program its standard input, to the end. Where the program
// takes no more, the rest waits in the channel until that is closed.
func feedFrom(r io.Reader, to streams) {
	buf := make([]byte, wire.Chunk)
	line := false
	for {
		n, err := r.Read(buf)
		if n > 0 {
			line = buf[n-1] != '\n'
			if _, err := to.stdin.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			to.endInput(line)
			return
		}
	}
}

func writeAll(w io.Writer) func([]byte) error {
	return func(b []byte) error {
		_, err := w.Write(b)
		return err
	}
}

// joined carries bytes both ways between a channel and a connection of the
// guest's, an end of one direction as a half-close, until both have ended or
// one has failed. It closes both. Once the client has closed the channel,
// nobody takes what the guest still says; what the client had said before is
// passed on first.
func joined(channel ssh.Channel, reqs <-chan *ssh.Request, c halfCloser) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		ssh.DiscardRequests(reqs)
	}()
	carry := func(to, from halfCloser) bool {
		if _, err := io.Copy(to, from); err == nil && to.CloseWrite() == nil {
			return true
		}
		_ = to.Close()
		_ = from.Close()
		return false
	}
	inward, outward := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(inward)
		if carry(c, channel) {
			select {
			case <-closed:
				_ = c.Close()
			case <-outward:
			}
		}
	}()
	carry(channel, c)
	close(outward)
	<-inward
	_ = c.Close()
	_ = channel.Close()
}

// halfCloser is a connection or a channel.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}
