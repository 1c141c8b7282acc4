package network

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// Sizes of the buffer of one direction: what is idle holds little, what fills
// its buffer gets a larger one.
const (
	firstBuffer = 4 << 10
	largeBuffer = 128 << 10
)

// Join carries bytes both ways, the end of one direction as a half-close, until
// both have ended, one has failed, or ctx is over. It closes both.
func Join(ctx context.Context, a, b net.Conn) {
	shut, stop := together(ctx, a, b)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { carry(a, b, shut) })
	both.Go(func() { carry(b, a, shut) })
	both.Wait()
}

// together closes both connections where one of these is called, or ctx is over.
func together(ctx context.Context, a, b net.Conn) (shut, stop func()) {
	shut = sync.OnceFunc(func() {
		_ = a.Close()
		_ = b.Close()
	})
	forget := context.AfterFunc(ctx, shut)
	return shut, func() {
		forget()
		shut()
	}
}

// carry copies until the end of from, and passes that on. Where it fails, both
// directions end.
func carry(to, from net.Conn, fail func()) {
	if pour(to, from) != nil {
		fail()
		return
	}
	half, ok := to.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		fail()
	}
}

// pour copies until the end of from. Between two sockets the kernel does it.
func pour(to, from net.Conn) error {
	if isSocket(to) && isSocket(from) {
		_, err := io.Copy(to, from)
		return err
	}
	buf := make([]byte, firstBuffer)
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
		case k == len(buf) && k < largeBuffer:
			buf = make([]byte, min(4*k, largeBuffer))
		}
	}
}

func isSocket(c net.Conn) bool {
	_, ok := c.(syscall.Conn)
	return ok
}
