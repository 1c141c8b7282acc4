package vsock

import (
	"errors"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

const (
	// turnPackets bounds what one hold of the lock moves in each direction.
	turnPackets = 256
	// maxResets bounds the RSTs owed to connections that don't exist. A guest
	// that makes more of them than it takes is not listened to meanwhile.
	maxResets = 256
)

// drain takes packets from the guest.
func (d *Device) drain() {
	r := &d.rings[txq]
	if !d.running() {
		return
	}
	for left := turnPackets; ; left-- {
		if len(d.resets) >= maxResets {
			d.stalled = true
			break
		}
		if left == 0 {
			d.poke()
			break
		}
		segs, err := r.peek(d.mem, false, d.segs)
		if err != nil {
			d.breakRing(r, err)
			return
		}
		if segs == nil {
			if r.await() {
				continue
			}
			break
		}
		// The packet is copied before the chain is given back.
		d.receive(segs)
		r.push(0)
	}
	d.signal(r)
}

// pump sends what is owed, for as long as the guest has buffers.
func (d *Device) pump() {
	r := &d.rings[rxq]
	if !d.running() {
		return
	}
	for left := turnPackets; len(d.resets) > 0 || len(d.ready) > 0; left-- {
		if left == 0 {
			d.poke()
			break
		}
		segs, err := r.peek(d.mem, true, d.segs)
		if err == nil && segs != nil && segs.size() <= headerLen {
			err = errors.New("a receive buffer has no room for data")
		}
		if err != nil {
			d.breakRing(r, err)
			return
		}
		if segs == nil {
			if r.await() {
				continue
			}
			break
		}
		n := d.send(segs)
		if n == 0 {
			break
		}
		r.push(n)
	}
	d.signal(r)
	if d.stalled && len(d.resets) <= maxResets/2 {
		d.stalled = false
		d.poke()
	}
}

// send writes the next packet to the guest's memory, and returns its length; 0
// where nothing is to be sent.
func (d *Device) send(segs segments) uint32 {
	var b [headerLen]byte
	if len(d.resets) > 0 {
		h := d.resets[0]
		d.resets = d.resets[1:]
		h.encode(&b)
		segs.put(b[:])
		return headerLen
	}
	room := min(segs.size()-headerLen, maxPayload)
	for len(d.ready) > 0 {
		c := d.ready[0]
		d.ready[0], d.ready = nil, d.ready[1:]
		c.queued = false
		h, data, ok := c.next(room)
		if !ok {
			continue
		}
		h.encode(&b)
		segs.put(b[:]).put(data)
		c.sent(len(data))
		return headerLen + uint32(len(data))
	}
	return 0
}

// receive handles one packet. A packet that is cut short or is not from this
// guest to this host is not worth an answer.
func (d *Device) receive(segs segments) {
	var b [headerLen]byte
	if segs.size() < headerLen {
		return
	}
	data := segs.take(b[:])
	h := decodeHeader(&b)
	if h.srcCID != uint64(d.cid) || h.dstCID != uint64(hv.CIDHost) {
		return
	}
	if h.kind != typeStream {
		d.refuse(h)
		return
	}
	c := d.table[key{host: h.dstPort, guest: h.srcPort}]
	switch {
	case c != nil:
		c.receive(h, data)
	case h.op == opRequest:
		d.request(h)
	default:
		d.refuse(h)
	}
}

// request is the guest's wish to connect.
func (d *Device) request(h header) {
	l := d.listeners[h.dstPort]
	if l == nil || len(l.backlog) >= d.o.Backlog || d.full() {
		d.refuse(h)
		return
	}
	c := d.add(key{host: h.dstPort, guest: h.srcPort})
	c.state, c.asked = stateOpen, true
	c.credit(h)
	c.owe(oweResponse)
	l.backlog = append(l.backlog, c)
	l.came.Signal()
}

// refuse answers a packet with RST, unless it is one.
func (d *Device) refuse(h header) {
	if h.op == opReset {
		return
	}
	d.resets = append(d.resets, header{
		srcCID: h.dstCID, dstCID: h.srcCID, srcPort: h.dstPort, dstPort: h.srcPort,
		kind: h.kind, op: opReset,
	})
}

// receive handles a packet of a connection in the table.
func (c *conn) receive(h header, data segments) {
	if c.state == stateDying { // all it still does is to send its RST
		if h.op == opReset {
			c.drop(c.err, false)
		}
		return
	}
	c.credit(h)
	switch {
	case h.op == opReset:
		if c.state == stateConnecting {
			c.drop(syscall.ECONNREFUSED, false)
		} else {
			c.drop(syscall.ECONNRESET, false)
		}
	case h.op == opResponse && c.state == stateConnecting:
		c.state = stateOpen
		c.writable.Broadcast()
	case c.state == stateConnecting:
		c.drop(syscall.ECONNRESET, true)
	case h.op == opData:
		c.receiveData(h, data)
	case h.op == opShutdown:
		c.receiveShutdown(h.flags & shutBoth)
	case h.op == opCreditUpdate: // c.credit did it
	case h.op == opCreditRequest:
		c.owe(oweCredit)
	default: // a second REQUEST, say
		c.drop(syscall.ECONNRESET, true)
	}
}

// receiveData takes bytes that the guest had credit for.
func (c *conn) receiveData(h header, data segments) {
	switch n := uint64(h.length); {
	case c.peerShut&shutSend != 0 || n > uint64(data.size()) || n+uint64(c.in.n) > uint64(c.alloc):
		c.drop(syscall.ECONNRESET, true)
	case c.state == stateClosing || c.ownShut&shutReceive != 0:
		// It was under way when we said that we take no more. Nobody reads it,
		// so its credit is free again.
		c.fwd += h.length
		c.tell()
	default:
		left := int(n)
		for _, b := range data {
			b = b[:min(left, len(b))]
			c.in.write(b, &c.d.pool)
			left -= len(b)
		}
		c.readable.Signal()
	}
}

// receiveShutdown adds to what the guest will do no more.
func (c *conn) receiveShutdown(flags uint32) {
	c.peerShut |= flags
	if c.peerShut == shutBoth {
		// The guest waits for this RST. What it sent stays readable.
		c.drop(syscall.ECONNRESET, true)
		return
	}
	c.wake()
}
