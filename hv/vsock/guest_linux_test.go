package vsock

import (
	"encoding/binary"
	"io"
	"net"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// packet is one packet that the device sent.
type packet struct {
	header
	data []byte
}

// buffers offers the first n receive buffers.
func (r *rig) buffers(n int) {
	q := r.queue[rxq]
	for i := range n {
		q.desc(uint16(i), descriptor{addr: rigGPA + rigBuffers + uint64(i)*rigBuffer, len: rigBuffer, flags: descWrite})
		q.offer(uint16(i))
	}
	q.ring()
}

// pack writes a packet to memory and returns its address and length.
func (r *rig) pack(h header, data []byte) (addr uint64, n uint32) {
	at := rigPackets + r.slot%rigSlots*rigPacket
	r.slot++
	var b [headerLen]byte
	h.encode(&b)
	n = uint32(copy(r.mem[at:], b[:]))
	n += uint32(copy(r.mem[at+headerLen:at+rigPacket], data))
	return rigGPA + uint64(at), n
}

// submit has the device take a packet soon.
func (r *rig) submit(h header, data []byte) {
	r.Helper()
	q := r.queue[txq]
	q.await("room for a packet", func() bool { return q.avail-q.used() < rigSlots })
	addr, n := r.pack(h, data)
	at := q.avail % q.num
	q.desc(at, descriptor{addr: addr, len: n})
	q.offer(at)
	q.ring()
}

// send has the device take a packet now.
func (r *rig) send(h header, data []byte) {
	r.Helper()
	r.submit(h, data)
	r.taken()
}

// taken waits until the device has taken all that was offered.
func (r *rig) taken() {
	r.Helper()
	q := r.queue[txq]
	q.await("packets to be taken", func() bool { return q.used() == q.avail })
}

// next is the device's next packet, if there is one already. Its buffer is
// offered again.
func (r *rig) next() (packet, bool) {
	q := r.queue[rxq]
	if q.seen == q.used() {
		return packet{}, false
	}
	at := q.base + rigUsed + 4 + 8*uint64(q.seen%q.num)
	id, n := binary.LittleEndian.Uint32(q.mem[at:]), binary.LittleEndian.Uint32(q.mem[at+4:])
	q.seen++
	if id >= uint32(q.num) || n < headerLen || n > rigBuffer {
		r.Fatalf("used buffer %d with %d bytes", id, n)
	}
	b := q.mem[rigBuffers+uint64(id)*rigBuffer:][:n]
	p := packet{header: decodeHeader((*[headerLen]byte)(b)), data: append([]byte(nil), b[headerLen:]...)}
	q.offer(uint16(id))
	q.ring()
	return p, true
}

// receive waits for the device's next packet.
func (r *rig) receive() packet {
	r.Helper()
	var p packet
	r.queue[rxq].await("a packet", func() (ok bool) {
		p, ok = r.next()
		return ok
	})
	return p
}

// expect waits for a packet that must be of this kind.
func (r *rig) expect(want op) packet {
	r.Helper()
	p := r.receive()
	if p.op != want {
		r.Fatalf("the device sent op %d (%+v), not %d", p.op, p.header, want)
	}
	return p
}

// to is a packet of the guest on a connection between two ports.
func to(host, guest uint32, o op) header {
	return header{
		srcCID: uint64(rigCID), dstCID: uint64(hv.CIDHost), srcPort: guest, dstPort: host,
		kind: typeStream, op: o, bufAlloc: 1 << 30,
	}
}

// answer is a packet of the guest in answer to one of the device.
func (p packet) answer(o op) header { return to(p.srcPort, p.dstPort, o) }

// accept lets the listener's next connection come, from a port of the guest.
func (r *rig) accept(l net.Listener, host, guest uint32) net.Conn {
	r.Helper()
	r.send(to(host, guest, opRequest), nil)
	r.expect(opResponse)
	c, err := l.Accept()
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// works has a byte go both ways over a new connection: the device is sound.
func (r *rig) works() {
	r.Helper()
	const host, guest = 77, 99
	l, err := r.d.Listen(host)
	if err != nil {
		r.Fatal(err)
	}
	defer l.Close()
	c := r.accept(l, host, guest)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("down"))
		wrote <- err
	}()
	if p := r.expect(opData); string(p.data) != "down" {
		r.Fatalf("the guest got %q", p.data)
	}
	if err := <-wrote; err != nil {
		r.Fatal(err)
	}
	up := to(host, guest, opData)
	up.length = 2
	r.send(up, []byte("up"))
	got := make([]byte, 2)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "up" {
		r.Fatalf("the host got %q, %v", got, err)
	}
	_ = c.Close()
	r.expect(opShutdown)
	r.send(to(host, guest, opReset), nil)
}
