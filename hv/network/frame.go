package network

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// MTU is every interface's. Nothing of the network has a wire, and the price is
// for each packet: the larger the better. QEMU's netdev carries 68 KiB.
const MTU = 65520

const (
	prefixSize = 4
	maxFrame   = header.EthernetMinimumSize + MTU
	smallFrame = 2048 - prefixSize
)

// frame is one Ethernet frame with room for its length in front, so that both
// are written in one piece. Whoever has it last frees it.
type frame struct {
	buf  []byte // prefixSize bytes, then the frame
	pool *sync.Pool
}

var smallFrames, largeFrames sync.Pool

func init() {
	smallFrames.New = func() any { return &frame{buf: make([]byte, prefixSize+smallFrame), pool: &smallFrames} }
	largeFrames.New = func() any { return &frame{buf: make([]byte, prefixSize+maxFrame), pool: &largeFrames} }
}

// newFrame has room for n bytes; n is at most maxFrame.
func newFrame(n int) *frame {
	pool := &smallFrames
	if n > smallFrame {
		pool = &largeFrames
	}
	f := pool.Get().(*frame)
	f.buf = f.buf[:prefixSize+n]
	binary.BigEndian.PutUint32(f.buf, uint32(n))
	return f
}

func (f *frame) free() {
	f.buf = f.buf[:cap(f.buf)]
	f.pool.Put(f)
}

// data is the frame itself.
func (f *frame) data() []byte { return f.buf[prefixSize:] }

// wire is what the stream carries.
func (f *frame) wire() []byte { return f.buf }
