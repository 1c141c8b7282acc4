package vsock

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"
)

// Every header is what its bytes say, no more and no less.
func FuzzPacket(f *testing.F) {
	var b [headerLen]byte
	h := header{srcCID: 3, dstCID: 2, srcPort: 1, dstPort: 1024, length: 5, kind: typeStream, op: opData, bufAlloc: 1 << 18}
	h.encode(&b)
	f.Add(append(b[:], "hello"...), uint8(7))
	f.Add(bytes.Repeat([]byte{0xff}, headerLen), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		var b, again [headerLen]byte
		// A chain in pieces of any length is read as one.
		var segs segments
		for rest := bytes.Clone(data); len(rest) > 0; {
			n := min(len(rest), 1+int(piece))
			segs, rest = append(segs, rest[:n]), rest[n:]
		}
		if segs.size() != len(data) {
			t.Fatalf("%d bytes are %d", len(data), segs.size())
		}
		behind := segs.take(b[:])
		if n := copy(again[:], data); behind.size() != len(data)-n || b != again {
			t.Fatalf("took %x and left %d of %x", b, behind.size(), data)
		}
		h := decodeHeader(&b)
		if h.encode(&again); again != b {
			t.Fatalf("%x became %x", b, again)
		}
		behind.put(b[:])
		if n := min(behind.size(), headerLen); n > 0 && data[0] != again[0] {
			t.Fatal("put wrote before its place")
		}
	})
}

// What the front end says is taken within its bounds, or refused.
func FuzzMessage(f *testing.F) {
	message := func(r request, body ...byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(r))
		b = binary.LittleEndian.AppendUint32(b, flagVersion)
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(body))), body...)
	}
	f.Add(message(getFeatures))
	f.Add(message(setMemTable, append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 32)...)...))
	f.Add(message(setMemTable, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0))
	f.Add(message(setVringAddr, make([]byte, 40)...))
	f.Add(message(getConfig, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(message(99, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		var head [messageHeader]byte
		rest := data[copy(head[:], data):]
		m, size, err := parseHeader(&head)
		if err != nil {
			return
		}
		if size < 0 || size > maxMessage {
			t.Fatalf("a body of %d bytes", size)
		}
		m.body = make([]byte, size) // what is missing is zero, as after a short read
		copy(m.body, rest)
		switch _, known := bodyLength[m.request]; {
		case m.request == setMemTable:
			if table, err := m.memTable(); err == nil && (len(table) > maxRegions || 8+32*len(table) != size) {
				t.Fatalf("%d regions in %d bytes", len(table), size)
			}
		case m.request == setVringAddr:
			_ = m.ringAddr()
		case m.request == getConfig:
			if out, err := m.config([]byte{3, 0, 0, 0, 0, 0, 0, 0}); err == nil && (len(out) != size || len(out) > 12+maxConfig) {
				t.Fatalf("an answer of %d bytes to %d", len(out), size)
			}
		case known && size == 8:
			_, _ = m.vring()
			_ = m.u64()
		}
		var answer [messageHeader]byte
		copy(answer[:], m.reply(m.body))
		if _, _, err := parseHeader(&answer); err == nil {
			t.Fatal("an answer was taken for a request")
		}
	})
}

const (
	fuzzGPA = 0x1000
	fuzzUVA = 0x7f00_0000_0000
)

// inside tells whether a segment lies in one of the regions.
func (m memory) inside(b []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for _, r := range m {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(r.mem)))
		if at >= start && at+uintptr(len(b)) <= start+uintptr(len(r.mem)) {
			return true
		}
	}
	return false
}

// A ring in which every byte is the guest's: the walk ends, stays in guest
// memory and within its bounds, and completes what it took.
func FuzzRing(f *testing.F) {
	ring16 := make([]byte, 1024)
	le := binary.LittleEndian
	le.PutUint64(ring16[0:], fuzzGPA+512) // descriptor 0, 100 bytes, then descriptor 1
	le.PutUint32(ring16[8:], 100)
	le.PutUint16(ring16[12:], descNext)
	le.PutUint16(ring16[14:], 1)
	le.PutUint64(ring16[16:], fuzzGPA+640)
	le.PutUint32(ring16[24:], 0xffff)
	le.PutUint16(ring16[256+2:], 1) // one chain is offered
	f.Add(ring16, uint8(4), uint16(0), false)
	loop := bytes.Clone(ring16)
	le.PutUint16(loop[28:], descNext)
	f.Add(loop, uint8(4), uint16(0), false)
	table := bytes.Clone(ring16)
	le.PutUint16(table[12:], descIndirect)
	le.PutUint32(table[8:], 32)
	f.Add(table, uint8(4), uint16(0), true)
	f.Fuzz(func(t *testing.T, content []byte, order uint8, idx uint16, writable bool) {
		first, second := make([]byte, 4096), make([]byte, 4096)
		copy(second, content[copy(first, content):])
		m := memory{{fuzzGPA, fuzzUVA, first, first}, {fuzzGPA + 4096, fuzzUVA + 4096, second, second}}
		n := uint32(1) << (order % 12)
		r := ring{num: n, idx: idx, enabled: true, addr: ringAddr{
			desc: fuzzUVA, avail: fuzzUVA + descLen*uint64(n), used: fuzzUVA + 2048,
		}}
		if r.start(m) != nil {
			return
		}
		for range 2 * maxRingSize {
			segs, err := r.peek(m, writable, nil)
			if err != nil || segs == nil {
				return
			}
			if len(segs) > maxSegments || uint32(r.head) >= n {
				t.Fatalf("%d segments from descriptor %d of %d", len(segs), r.head, n)
			}
			for _, s := range segs {
				if !m.inside(s) {
					t.Fatal("a segment is not in guest memory")
				}
			}
			size := segs.size()
			r.push(uint32(size))
			r.publish()
			if shown := uint16(le.Uint32(r.used) >> 16); shown != r.idx {
				t.Fatalf("%d is shown of %d", shown, r.idx)
			}
		}
	})
}
