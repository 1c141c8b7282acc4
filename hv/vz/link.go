package vz

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/process"
)

const (
	prefixSize  = 4       // of a frame's length, in front of it
	ethernet    = 14      // a frame's own head
	longestLink = 1 << 17 // more than any frame of the network has
)

// link relays the guest's frames to whoever carries them, one connection after
// the other. With nobody there they are dropped, as they are where nobody keeps
// up: the guest never waits.
type link struct {
	guest net.Conn
	at    *net.UnixListener
	frame int // the longest

	mu   sync.Mutex
	peer *net.UnixConn
	over bool
}

// listen makes the socket.
func (l *link) listen(dir, name string) (err error) {
	if l.at, err = process.Listen(dir, name); err != nil {
		return fmt.Errorf("hv/vz: network: %w", err)
	}
	l.at.SetUnlinkOnClose(false) // who comes when the VM is gone is refused
	return nil
}

// run relays until close.
func (l *link) run() {
	var both sync.WaitGroup
	both.Go(l.fromGuest)
	process.Accept(l.at.AcceptUnix, func(c *net.UnixConn) {
		if err := process.Admitted(c); err != nil {
			_ = c.Close()
			return
		}
		l.join(c)
		l.toGuest(c)
		l.join(nil)
	})
	both.Wait()
}

// close ends it. The guest's socket is the caller's to close, before.
func (l *link) close() {
	_ = l.at.Close()
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.join(nil)
}

// join makes c the one who is there; nil = nobody.
func (l *link) join(c *net.UnixConn) {
	l.mu.Lock()
	old := l.peer
	l.peer = c
	if l.over && c != nil {
		_ = c.Close()
	}
	l.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

// fromGuest reads each datagram of the guest, always.
func (l *link) fromGuest() {
	buf := make([]byte, prefixSize+l.frame+1) // one that is too long is seen to be
	for {
		n, err := l.guest.Read(buf[prefixSize:])
		if err != nil {
			return
		}
		l.mu.Lock()
		peer := l.peer
		l.mu.Unlock()
		if peer == nil || n < ethernet || n > l.frame {
			continue
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		if _, err := peer.Write(buf[:prefixSize+n]); err != nil {
			_ = peer.Close() // half a frame may be there
		}
	}
}

// toGuest hands the guest what c sends, to c's end.
func (l *link) toGuest(c net.Conn) {
	r := bufio.NewReaderSize(c, longestLink)
	var prefix [prefixSize]byte
	for {
		if _, err := io.ReadFull(r, prefix[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(prefix[:]))
		if n > longestLink {
			return
		}
		frame, err := r.Peek(n)
		if err != nil {
			return
		}
		if n >= ethernet && n <= l.frame {
			// No room is no fault: the frame is lost, as on any wire.
			if _, err := l.guest.Write(frame); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EMSGSIZE) {
				return
			}
		}
		_, _ = r.Discard(n) // it is there
	}
}
