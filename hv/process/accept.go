package process

import (
	"errors"
	"net"
	"time"
)

// acceptPause lets a lack of descriptors pass; nothing tells when one is free.
const acceptPause = 10 * time.Millisecond

// Accept hands over each connection that accept gives until its listener is
// closed. Any other error is one of a moment, such as no free descriptor: it must
// not end the only way to a process.
func Accept[C net.Conn](accept func() (C, error), take func(C)) {
	for {
		c, err := accept()
		switch {
		case err == nil:
			take(c)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(acceptPause)
		}
	}
}
