package vsock

import "encoding/binary"

const (
	headerLen  = 44
	typeStream = 1
	maxPayload = 64 << 10 // of one packet; Linux takes no more
)

// op is what a packet asks for.
type op uint16

const (
	opRequest op = 1 + iota
	opResponse
	opReset
	opShutdown
	opData
	opCreditUpdate
	opCreditRequest
)

// Flags of opShutdown: what its sender will do no more.
const (
	shutReceive = 1
	shutSend    = 2
	shutBoth    = shutReceive | shutSend
)

// header is struct virtio_vsock_hdr, packed little-endian on the wire.
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	length           uint32
	kind             uint16
	op               op
	flags            uint32
	bufAlloc, fwdCnt uint32
}

func (h *header) encode(b *[headerLen]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.srcCID)
	le.PutUint64(b[8:], h.dstCID)
	le.PutUint32(b[16:], h.srcPort)
	le.PutUint32(b[20:], h.dstPort)
	le.PutUint32(b[24:], h.length)
	le.PutUint16(b[28:], h.kind)
	le.PutUint16(b[30:], uint16(h.op))
	le.PutUint32(b[32:], h.flags)
	le.PutUint32(b[36:], h.bufAlloc)
	le.PutUint32(b[40:], h.fwdCnt)
}

func decodeHeader(b *[headerLen]byte) header {
	le := binary.LittleEndian
	return header{
		srcCID: le.Uint64(b[0:]), dstCID: le.Uint64(b[8:]),
		srcPort: le.Uint32(b[16:]), dstPort: le.Uint32(b[20:]),
		length: le.Uint32(b[24:]),
		kind:   le.Uint16(b[28:]), op: op(le.Uint16(b[30:])),
		flags:    le.Uint32(b[32:]),
		bufAlloc: le.Uint32(b[36:]), fwdCnt: le.Uint32(b[40:]),
	}
}

// segments is one descriptor chain's memory, in order.
type segments [][]byte

// size is the chain's length. Segments are slices of mapped memory, so the sum
// of 256 of them can't overflow.
func (s segments) size() int {
	n := 0
	for _, b := range s {
		n += len(b)
	}
	return n
}

// take copies the chain's beginning to p and returns what is behind it. It
// changes the first segments of s in place.
func (s segments) take(p []byte) segments {
	for len(p) > 0 && len(s) > 0 {
		n := copy(p, s[0])
		p, s[0] = p[n:], s[0][n:]
		if len(s[0]) == 0 {
			s = s[1:]
		}
	}
	return s
}

// put copies p to the chain's beginning and returns what is behind it.
func (s segments) put(p []byte) segments {
	for len(p) > 0 && len(s) > 0 {
		n := copy(s[0], p)
		p, s[0] = p[n:], s[0][n:]
		if len(s[0]) == 0 {
			s = s[1:]
		}
	}
	return s
}
