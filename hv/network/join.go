package network

import (
	"context"
	"net"
	"sync"
)

// Sizes of the buffer of one direction: what is idle holds little, what fills
// its buffer gets a larger one.
const (
	firstBuffer = 4 << 10
	largeBuffer = 128 << 10
)

// join carries bytes both ways, the end of one direction as a half-close, until
// both have ended, one has failed, or ctx is over. It closes both.
func join(ctx context.Context, a, b net.Conn) {
	shut := sync.OnceFunc(func() {
		_ = a.Close()
		_ = b.Close()
	})
	defer shut()
	stop := context.AfterFunc(ctx, shut)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { carry(a, b, shut) })
	both.Go(func() { carry(b, a, shut) })
	both.Wait()
}

// carry copies until the end of from, and passes that on.
func carry(to, from net.Conn, fail func()) {
	buf := make([]byte, firstBuffer)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			if _, werr := to.Write(buf[:k]); werr != nil {
				fail()
				return
			}
		}
		if err != nil {
			break
		}
		if k == len(buf) && k < largeBuffer {
			buf = make([]byte, min(4*k, largeBuffer))
		}
	}
	half, ok := to.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		fail()
	}
}
