package vsock

import "github.com/arcboxlabs/arcbox-engine/hv"

// add puts a new connection into the table.
func (d *Device) add(k key) *conn {
	c := &conn{d: d, key: k, alloc: d.o.BufAlloc}
	if d.count() >= (d.o.MaxConns+2)/3 {
		c.alloc /= 4
	}
	c.readable.L, c.writable.L = &d.mu, &d.mu
	d.table[k] = c
	return c
}

// owe notes that the connection has a packet to send.
func (c *conn) owe(what owed) {
	c.owes |= what
	c.enqueue()
}

func (c *conn) enqueue() {
	if !c.queued && c.hasPacket() {
		c.queued = true
		c.d.ready = append(c.d.ready, c)
	}
}

func (c *conn) hasPacket() bool { return c.owes != 0 || c.window() > 0 }

// credit notes how much the guest can take. Every packet says so.
func (c *conn) credit(h header) {
	c.peerAlloc, c.peerFwd = h.bufAlloc, h.fwdCnt
	c.enqueue()
}

// window is how many bytes of the Write under way may be sent now. A guest may
// shrink its buffer below what is on its way, hence the signs.
func (c *conn) window() int {
	if c.state != stateOpen || len(c.out) == 0 || c.writeError() != nil {
		return 0
	}
	free := int64(c.peerAlloc) - int64(c.sentBytes-c.peerFwd)
	return int(max(0, min(free, int64(len(c.out)))))
}

// tell lets the guest know that it may send more, once that is worth a packet.
func (c *conn) tell() {
	if c.state == stateOpen && c.fwd-c.told >= c.alloc/4 && c.peerShut&shutSend == 0 {
		c.owe(oweCredit)
	}
}

// next is the packet that the connection sends now: what opens it first, then
// data, then what ends it.
func (c *conn) next(room int) (h header, data []byte, ok bool) {
	h = header{
		srcCID: uint64(hv.CIDHost), dstCID: uint64(c.d.cid),
		srcPort: c.key.host, dstPort: c.key.guest,
		kind: typeStream, bufAlloc: c.alloc, fwdCnt: c.fwd,
	}
	window := c.window()
	switch {
	case c.owes&oweRequest != 0:
		h.op, c.asked = opRequest, true
		c.owes &^= oweRequest
	case c.owes&oweResponse != 0:
		h.op = opResponse
		c.owes &^= oweResponse
	case window > 0:
		h.op, data = opData, c.out[:min(window, room)]
		h.length = uint32(len(data))
	case c.owes&oweShutdown != 0:
		h.op, h.flags = opShutdown, c.ownShut
		c.owes &^= oweShutdown
	case c.owes&oweReset != 0:
		h.op = opReset
		c.owes &^= oweReset
	case c.owes&oweCredit != 0:
		h.op = opCreditUpdate
	default:
		return h, nil, false
	}
	c.told = c.fwd
	c.owes &^= oweCredit // whatever the packet, it says it
	return h, data, true
}

// sent follows next: n bytes of data are with the guest.
func (c *conn) sent(n int) {
	if n > 0 {
		c.out = c.out[n:]
		c.sentBytes += uint32(n)
		if len(c.out) == 0 {
			c.writable.Broadcast()
		}
	}
	if c.state == stateDying && c.owes == 0 {
		c.remove()
		return
	}
	c.enqueue()
}

// drop ends a connection. With reset the guest is told first, if it may know of
// the connection at all; it stays in the table until then, so that what we owe
// is bounded by the table.
func (c *conn) drop(err error, reset bool) {
	if c.state == stateGone {
		return
	}
	if c.err == nil {
		c.err = err
	}
	c.owes = 0
	if c.linger != nil {
		c.linger.Stop()
	}
	if reset && c.asked {
		c.state = stateDying
		c.owe(oweReset)
	} else {
		c.remove()
	}
	c.wake()
}

// remove takes a connection out of the table. What the guest sent may still be
// read, so it counts until the host lets go of it.
func (c *conn) remove() {
	c.state = stateGone
	c.owes = 0
	delete(c.d.table, c.key)
	if !c.closed {
		c.held = true
		c.d.held++
	}
}

// letGo follows the host's last use of a connection.
func (c *conn) letGo() {
	c.closed = true
	c.in.clear(&c.d.pool)
	if c.held {
		c.held = false
		c.d.held--
	}
}

// full tells whether there may be no more connections.
func (d *Device) full() bool { return d.count() >= d.o.MaxConns }

// count is how many connections there are.
func (d *Device) count() int { return len(d.table) + d.held }
