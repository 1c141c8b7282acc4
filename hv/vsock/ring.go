package vsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"
)

const (
	maxRingSize = 1024
	maxSegments = 256
	descLen     = 16
)

// Flags of a descriptor.
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// noInterrupt is the driver's wish in the avail ring's flags, where event
// indices were not negotiated.
const noInterrupt = 1

// ring is the device's side of one split virtqueue. The device completes each
// chain before it takes the next, in order, so one index serves both the avail
// and the used ring. Everything in desc, avail and used is the guest's to
// change at any time: it is read once, then checked.
type ring struct {
	num     uint32
	addr    ringAddr
	idx     uint16 // chains taken and completed; kept while the ring is stopped
	shown   uint16 // idx as the guest knows it
	head    uint16 // first descriptor of the chain that peek showed
	started bool   // between SET_VRING_KICK and GET_VRING_BASE
	enabled bool
	events  bool  // event indices were negotiated
	force   bool  // the next signal goes out unasked
	fault   error // what the guest did wrong; ends with GET_VRING_BASE

	desc, avail, used []byte // of a started ring

	kick *os.File
	call int // an eventfd, or -1
}

type descriptor struct {
	addr        uint64
	len         uint32
	flags, next uint16
}

func word(b []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[off])) }

// running tells whether the ring may be touched.
func (r *ring) running() bool { return r.started && r.enabled && r.fault == nil }

// start finds the ring in memory. The event words are accessed as 32 bits of
// which the upper half is not ours, hence two bytes more than the rings have.
func (r *ring) start(m memory) error {
	r.desc, r.avail, r.used = nil, nil, nil
	n := r.num
	if n < 2 || n > maxRingSize || n&(n-1) != 0 {
		return fmt.Errorf("ring of %d entries: a power of two, 2 to %d", n, maxRingSize)
	}
	desc := m.user(r.addr.desc, uint64(n)*descLen)
	avail := m.user(r.addr.avail, 8+2*uint64(n))
	used := m.user(r.addr.used, 8+8*uint64(n))
	if desc == nil || avail == nil || used == nil {
		return fmt.Errorf("ring (desc %#x, avail %#x, used %#x) is not in guest memory", r.addr.desc, r.addr.avail, r.addr.used)
	}
	if !aligned(desc, descLen) || !aligned(avail, 4) || !aligned(used, 4) {
		return fmt.Errorf("ring (desc %#x, avail %#x, used %#x) is not aligned", r.addr.desc, r.addr.avail, r.addr.used)
	}
	r.desc, r.avail, r.used = desc, avail, used
	r.shown, r.started, r.force = r.idx, true, true
	return nil
}

func aligned(b []byte, n uintptr) bool { return uintptr(unsafe.Pointer(&b[0]))%n == 0 }

// stop forgets where the ring is, and what the guest did to it.
func (r *ring) stop() {
	r.desc, r.avail, r.used = nil, nil, nil
	r.started, r.fault = false, nil
}

// peek returns the memory of the next chain, all writable or all readable, or
// nil where the guest offers none. segs is space to use.
func (r *ring) peek(m memory, writable bool, segs segments) (segments, error) {
	availIdx := uint16(atomic.LoadUint32(word(r.avail, 0)) >> 16)
	switch ahead := availIdx - r.idx; {
	case ahead == 0:
		return nil, nil
	case uint32(ahead) > r.num:
		return nil, fmt.Errorf("avail index %d is more than a ring of %d ahead of %d", availIdx, r.num, r.idx)
	}
	r.head = binary.LittleEndian.Uint16(r.avail[4+2*(uint32(r.idx)&(r.num-1)):])
	return r.chain(m, r.head, writable, segs[:0])
}

// chain walks the chain. It counts descriptors, not only segments, so that a
// loop of empty ones ends too.
func (r *ring) chain(m memory, at uint16, writable bool, segs segments) (segments, error) {
	for count := 0; count < maxSegments; count++ {
		if uint32(at) >= r.num {
			return nil, fmt.Errorf("descriptor %d in a ring of %d", at, r.num)
		}
		d := parseDescriptor(r.desc[uint32(at)*descLen:])
		if d.flags&descIndirect != 0 {
			if d.flags&descNext != 0 {
				return nil, fmt.Errorf("descriptor %d is indirect and has a next one", at)
			}
			return indirect(m, d, writable, segs, maxSegments-count)
		}
		var err error
		if segs, err = addSegments(m, d, writable, segs); err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", at, err)
		}
		if d.flags&descNext == 0 {
			return segs, nil
		}
		at = d.next
	}
	return nil, fmt.Errorf("chain of more than %d descriptors", maxSegments)
}

// indirect walks a chain that lies in a table of its own.
func indirect(m memory, d descriptor, writable bool, segs segments, left int) (segments, error) {
	table := m.guest(d.addr, uint64(d.len))
	n := d.len / descLen
	if n == 0 || d.len%descLen != 0 || uint32(len(table)) != d.len {
		return nil, fmt.Errorf("indirect table (%#x, %d bytes) is empty, uneven or not in one piece of guest memory", d.addr, d.len)
	}
	at := uint16(0)
	for ; left > 0; left-- {
		if uint32(at) >= n {
			return nil, fmt.Errorf("descriptor %d in an indirect table of %d", at, n)
		}
		e := parseDescriptor(table[uint32(at)*descLen:])
		if e.flags&descIndirect != 0 {
			return nil, errors.New("indirect table in an indirect table")
		}
		var err error
		if segs, err = addSegments(m, e, writable, segs); err != nil {
			return nil, fmt.Errorf("indirect descriptor %d: %w", at, err)
		}
		if e.flags&descNext == 0 {
			return segs, nil
		}
		at = e.next
	}
	return nil, fmt.Errorf("chain of more than %d descriptors", maxSegments)
}

func parseDescriptor(b []byte) descriptor {
	le := binary.LittleEndian
	return descriptor{addr: le.Uint64(b), len: le.Uint32(b[8:]), flags: le.Uint16(b[12:]), next: le.Uint16(b[14:])}
}

// addSegments appends a descriptor's memory, which may span regions.
func addSegments(m memory, d descriptor, writable bool, segs segments) (segments, error) {
	if (d.flags&descWrite != 0) != writable {
		return nil, fmt.Errorf("writable is %t, must be %t", !writable, writable)
	}
	for addr, left := d.addr, uint64(d.len); left > 0; {
		b := m.guest(addr, left)
		if len(b) == 0 || len(segs) >= maxSegments {
			return nil, fmt.Errorf("%#x (%d bytes) is not in guest memory, or in too many pieces", d.addr, d.len)
		}
		segs = append(segs, b)
		// A region's end does not wrap, so neither does addr before its check.
		addr, left = addr+uint64(len(b)), left-uint64(len(b))
	}
	return segs, nil
}

// push completes the chain that peek showed, n bytes of it written. The guest
// sees it with the next publish.
func (r *ring) push(n uint32) {
	e := r.used[4+8*(uint32(r.idx)&(r.num-1)):]
	binary.LittleEndian.PutUint32(e, uint32(r.head))
	binary.LittleEndian.PutUint32(e[4:], n)
	r.idx++
}

// publish shows the completed chains and tells whether to signal the guest.
func (r *ring) publish() bool {
	old := r.shown
	if old == r.idx && !r.force {
		return false
	}
	r.shown = r.idx
	atomic.StoreUint32(word(r.used, 0), uint32(r.idx)<<16)
	if r.force {
		r.force = false
		return true
	}
	if !r.events {
		return atomic.LoadUint32(word(r.avail, 0))&noInterrupt == 0
	}
	want := uint16(atomic.LoadUint32(word(r.avail, 4+2*r.num)))
	return needEvent(want, r.idx, old)
}

// needEvent tells whether going from old to now passed want.
func needEvent(want, now, old uint16) bool { return now-want-1 < now-old }

// await asks for a kick at the next chain, and tells whether one is there
// already. The order matters: ask, then look. A guest that writes to the same
// word all the time may lose its wish, but not hold up the device.
func (r *ring) await() bool {
	if r.events {
		p := word(r.used, 4+8*r.num)
		for range 100 {
			v := atomic.LoadUint32(p)
			if atomic.CompareAndSwapUint32(p, v, v&0xFFFF0000|uint32(r.idx)) {
				break
			}
		}
	}
	return uint16(atomic.LoadUint32(word(r.avail, 0))>>16) != r.idx
}
