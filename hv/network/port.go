package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// What one port holds for a guest that does not read.
const (
	queueFrames = 1024
	queueBytes  = 8 << 20
	batch       = 64 // frames in one write
)

// longest is more than QEMU takes of a guest, and than a guest with our MTU has
// reason to send.
const longest = 128 << 10

// errFrame is a stream that carries no frames.
var errFrame = errors.New("network: a frame of an impossible length")

// port is one machine's connection while it lasts.
type port struct {
	conn   net.Conn
	queue  chan *frame
	queued atomic.Int64
	done   chan struct{}
	once   sync.Once
}

func newPort(c net.Conn) *port {
	return &port{conn: c, queue: make(chan *frame, queueFrames), done: make(chan struct{})}
}

// close ends both directions.
func (p *port) close() {
	p.once.Do(func() {
		close(p.done)
		_ = p.conn.Close()
	})
}

// send takes the frame over. It never waits; where the guest is too slow the
// frame is dropped, and the result is false.
func (p *port) send(f *frame) bool {
	size := int64(len(f.buf))
	if p.queued.Add(size) <= queueBytes {
		select {
		case p.queue <- f:
			return true
		default:
		}
	}
	p.queued.Add(-size)
	f.free()
	return false
}

// write carries what is queued to the guest until the port is closed.
func (p *port) write() {
	var frames [batch]*frame
	var out [batch][]byte
	for {
		n := 0
		select {
		case frames[0] = <-p.queue:
			n = 1
		case <-p.done:
			return
		}
	gather:
		for n < batch {
			select {
			case frames[n] = <-p.queue:
				n++
			default:
				break gather
			}
		}
		size := int64(0)
		for i, f := range frames[:n] {
			out[i] = f.wire()
			size += int64(len(f.buf))
		}
		buffers := net.Buffers(out[:n])
		_, err := buffers.WriteTo(p.conn)
		p.queued.Add(-size)
		for _, f := range frames[:n] {
			f.free()
		}
		if err != nil {
			p.close()
			return
		}
	}
}

// read hands over each frame until the stream ends. What a guest may send and
// can be no frame of this network is passed over, and told to odd.
func (p *port) read(each func(*frame), odd func()) error {
	r := bufio.NewReaderSize(p.conn, 128<<10)
	var prefix [prefixSize]byte
	for {
		if _, err := io.ReadFull(r, prefix[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(prefix[:])
		if n > longest {
			return fmt.Errorf("%w: %d bytes", errFrame, n)
		}
		if n < header.EthernetMinimumSize || n > maxFrame {
			if _, err := r.Discard(int(n)); err != nil {
				return err
			}
			odd()
			continue
		}
		f := newFrame(int(n))
		if _, err := io.ReadFull(r, f.data()); err != nil {
			f.free()
			return err
		}
		each(f)
	}
}
