package vsock

import (
	"os"
	"runtime"
	"testing"
	"time"
)

const rigEnd = rigGPA + rigSize // the first address behind the memory

// data is a place in memory that the rig uses for nothing else.
const data = rigGPA + rigPackets

// hostileChains are chains that no driver would make. Each is written to the
// ring and ends with what is offered.
var hostileChains = []struct {
	name   string
	ring   int
	breaks bool // else the chain is completed, its packet ignored
	make   func(q *queue)
}{
	{"loop of one", txq, true, chains(descriptor{data, 64, descNext, 0})},
	{"loop of two", txq, true, chains(descriptor{data, 64, descNext, 1}, descriptor{data, 64, descNext, 0})},
	{"loop of empty ones", txq, true, chains(descriptor{data, 0, descNext, 1}, descriptor{data, 0, descNext, 0})},
	{"loop to receive into", rxq, true, chains(descriptor{data, 64, descNext | descWrite, 0})},
	{"head outside the ring", txq, true, func(q *queue) { q.offer(rigNum) }},
	{"head 65535", rxq, true, func(q *queue) { q.offer(0xFFFF) }},
	{"next outside the ring", txq, true, chains(descriptor{data, 64, descNext, rigNum})},
	{"next 65535", txq, true, chains(descriptor{data, 64, descNext, 0xFFFF})},
	{"whole ring in one chain", txq, false, long(rigNum)},

	{"address 0", txq, true, chains(descriptor{0, 64, 0, 0})},
	{"address before the memory", txq, true, chains(descriptor{rigGPA - 1, 64, 0, 0})},
	{"address behind the memory", txq, true, chains(descriptor{rigEnd, 1, 0, 0})},
	{"over the end by one", txq, true, chains(descriptor{rigEnd - 63, 64, 0, 0})},
	{"up to the end", txq, false, chains(descriptor{rigEnd - 64, 64, 0, 0})},
	{"last byte", txq, false, chains(descriptor{rigEnd - 1, 1, 0, 0})},
	{"over the end to receive into", rxq, true, chains(descriptor{rigEnd - 63, 64, descWrite, 0})},
	{"last address", txq, true, chains(descriptor{^uint64(0), 1, 0, 0})},
	{"wrapping", txq, true, chains(descriptor{^uint64(0) - 10, 64, 0, 0})},
	{"wrapping into the memory", txq, true, chains(descriptor{rigGPA, 0xFFFFFFFF, 0, 0})},
	{"front end's address", txq, true, chains(descriptor{rigUVA, 64, 0, 0})},
	{"empty at no address", txq, false, chains(descriptor{^uint64(0), 0, 0, 0})},
	{"empty", txq, false, chains(descriptor{data, 0, 0, 0})},
	{"empty to receive into", rxq, true, chains(descriptor{data, 0, descWrite, 0})},
	{"a header's room to receive into", rxq, true, chains(descriptor{data, headerLen, descWrite, 0})},
	{"short header", txq, false, chains(descriptor{data, headerLen - 1, 0, 0})},
	{"all of the memory", txq, false, chains(descriptor{rigGPA, rigSize, 0, 0})},
	{"all of the memory, many times", txq, false, func(q *queue) {
		for i := range uint16(200) {
			q.desc(i, descriptor{rigGPA, rigSize, descNext, i + 1})
		}
		q.desc(200, descriptor{rigGPA, rigSize, 0, 0})
		q.offer(0)
	}},
	{"writable to send", txq, true, chains(descriptor{data, 64, descWrite, 0})},
	{"writable behind readable", txq, true, chains(descriptor{data, 64, descNext, 1}, descriptor{data, 64, descWrite, 0})},
	{"readable to receive into", rxq, true, chains(descriptor{data, 64, 0, 0})},
	{"readable behind writable", rxq, true, chains(descriptor{data, 64, descWrite | descNext, 1}, descriptor{data, 64, 0, 0})},
	{"unknown flags", txq, false, chains(descriptor{data, 64, 0xFFF8, 0})},

	{"indirect", txq, false, indirectTable(data, 2*descLen, descriptor{data, 64, descNext, 1}, descriptor{data, 64, 0, 0})},
	{"indirect loop", txq, true, indirectTable(data, 2*descLen, descriptor{data, 64, descNext, 1}, descriptor{data, 0, descNext, 0})},
	{"indirect in indirect", txq, true, indirectTable(data, descLen, descriptor{data, descLen, descIndirect, 0})},
	{"indirect next outside", txq, true, indirectTable(data, descLen, descriptor{data, 64, descNext, 1})},
	{"indirect next far outside", txq, true, indirectTable(data, descLen, descriptor{data, 64, descNext, 0xFFFF})},
	{"indirect and a next one", txq, true, chains(descriptor{data, descLen, descIndirect | descNext, 1}, descriptor{data, 64, 0, 0})},
	{"indirect, empty", txq, true, chains(descriptor{data, 0, descIndirect, 0})},
	{"indirect, uneven", txq, true, chains(descriptor{data, descLen + 1, descIndirect, 0})},
	{"indirect outside", txq, true, chains(descriptor{rigEnd, descLen, descIndirect, 0})},
	{"indirect over the end", txq, true, chains(descriptor{rigEnd - descLen, 2 * descLen, descIndirect, 0})},
	{"indirect wrapping", txq, true, chains(descriptor{^uint64(0) - descLen, 2 * descLen, descIndirect, 0})},
	{"indirect, 4 GiB", txq, true, chains(descriptor{data, 0xFFFFFFF0, descIndirect, 0})},
	{"indirect of all of the memory", txq, false, chains(descriptor{data, rigEnd - data, descIndirect, 0})},
	{"indirect behind direct ones", txq, true, func(q *queue) {
		long(rigNum - 1)(q) // the table's loop has one descriptor left
		q.desc(rigNum-2, descriptor{data, 64, descNext, rigNum - 1})
		q.desc(rigNum-1, descriptor{data, descLen, descIndirect, 0})
		putDescriptor(q.mem[data-rigGPA:], descriptor{data, 0, descNext, 0})
	}},
	{"indirect to receive into", rxq, true, indirectTable(data, descLen, descriptor{data, 64, 0, 0})},

	{"index ahead by more than the ring", txq, true, func(q *queue) { q.show(q.avail + rigNum + 1) }},
	{"index back by one", txq, true, func(q *queue) { q.show(q.avail - 1) }},
	{"index ahead by half the numbers", rxq, true, func(q *queue) { q.show(q.avail + 0x8000) }},
	{"index ahead by the ring", txq, false, func(q *queue) { q.show(q.avail + rigNum) }},
}

// chains offers one chain of these descriptors, the first at 0.
func chains(list ...descriptor) func(*queue) {
	return func(q *queue) {
		for i, d := range list {
			q.desc(uint16(i), d)
		}
		q.offer(0)
	}
}

// long offers a chain of n descriptors.
func long(n uint16) func(*queue) {
	return func(q *queue) {
		for i := range n {
			q.desc(i, descriptor{data, 64, descNext, i + 1})
		}
		q.desc(n-1, descriptor{data, 64, 0, 0})
		q.offer(0)
	}
}

// indirectTable offers one descriptor that leads to a table.
func indirectTable(at uint64, size uint32, list ...descriptor) func(*queue) {
	return func(q *queue) {
		for i, d := range list {
			putDescriptor(q.mem[at-rigGPA+uint64(i)*descLen:], d)
		}
		q.desc(0, descriptor{at, size, descIndirect, 0})
		q.offer(0)
	}
}

// Whatever a driver puts into its rings, the device goes on or stops the ring,
// and is sound again once the guest was reset.
func TestHostileChains(t *testing.T) {
	r := newRunningRig(t, Options{})
	r.works()
	r.reset()
	fds, routines := countFDs(t), runtime.NumGoroutine()
	for _, c := range hostileChains {
		t.Run(c.name, func(t *testing.T) {
			r.TB = t
			q := r.queue[c.ring]
			if c.ring == rxq { // instead of the good buffers
				q.stop()
				q.start(0)
			}
			clear(r.mem[rigPackets : rigPackets+1<<16])
			c.make(q)
			if c.ring == rxq { // the device looks where it has something to send
				r.submit(to(1, 1, opData), nil)
			}
			q.ring()
			fault := func() error {
				r.d.mu.Lock()
				defer r.d.mu.Unlock()
				return r.d.rings[c.ring].fault
			}
			q.await("an end", func() bool { return fault() != nil || q.used() == q.avail })
			if err := fault(); (err != nil) != c.breaks {
				t.Errorf("fault %v; is one wanted: %v", err, c.breaks)
			}
			r.reset()
			r.works()
			r.reset()
		})
	}
	r.TB = t
	r.settle(fds, routines)
}

// The walk itself ends at a loop, whatever is in it.
func TestLoopsEnd(t *testing.T) {
	desc := make([]byte, 2*descLen)
	putDescriptor(desc, descriptor{0, 0, descNext, 1})
	putDescriptor(desc[descLen:], descriptor{0, 0, descNext, 0})
	r := ring{num: 2, desc: desc}
	end := make(chan error, 1)
	go func() {
		_, err := r.chain(nil, 0, false, nil)
		end <- err
	}()
	select {
	case err := <-end:
		if err == nil {
			t.Error("a loop was taken for a chain")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the walk goes round for ever")
	}
}

// A descriptor may span regions, not gaps.
func TestRegions(t *testing.T) {
	const half = rigSize / 2
	low := whole
	low.size = half
	high := regionEntry{gpa: rigGPA + half, size: half, uva: rigUVA + half, offset: half}
	apart := high
	apart.gpa++
	for name, c := range map[string]struct {
		high   regionEntry
		breaks bool
	}{"adjacent": {high, false}, "a gap of one byte": {apart, true}} {
		t.Run(name, func(t *testing.T) {
			r := newRunningRig(t, Options{})
			r.set(setMemTable, table(low, c.high), r.fd, r.fd)
			q := r.queue[txq]
			chains(descriptor{rigGPA + half - 30, 64, 0, 0})(q)
			q.ring()
			q.await("an end", func() bool {
				r.d.mu.Lock()
				defer r.d.mu.Unlock()
				return r.d.rings[txq].fault != nil || q.used() == q.avail
			})
			if broke := q.used() != q.avail; broke != c.breaks {
				t.Errorf("the ring broke: %v, wanted: %v", broke, c.breaks)
			}
		})
	}
}

// Rings that are no rings never run, and touch nothing.
func TestHostileRingAddresses(t *testing.T) {
	good := func(q *queue) []byte { return q.addr(0, rigUsed, rigAvail) }
	off := func(d, u, a uint64) func(*queue) []byte {
		return func(q *queue) []byte { return q.addr(d, u, a) }
	}
	const end, far = rigSize - rigRing, 1 << 60 // of the tx ring
	for _, c := range []struct {
		name string
		num  uint32
		addr func(q *queue) []byte
	}{
		{"no entries", 0, good}, {"one entry", 1, good}, {"odd", 255, good},
		{"too many", 2048, good}, {"far too many", 1 << 31, good}, {"all bits", ^uint32(0), good},
		{"table unaligned", rigNum, off(8, rigUsed, rigAvail)},
		{"used unaligned", rigNum, off(0, rigUsed+2, rigAvail)},
		{"avail unaligned", rigNum, off(0, rigUsed, rigAvail+2)},
		{"table behind the end", rigNum, off(end, rigUsed, rigAvail)},
		{"table over the end", rigNum, off(end-descLen, rigUsed, rigAvail)},
		{"used over the end", rigNum, off(0, end-2048, rigAvail)},
		{"avail over the end", rigNum, off(0, rigUsed, end-512)},
		{"far away", rigNum, off(far, far, far)},
		{"wrapping", rigNum, off(^uint64(0)-rigUVA-rigRing, rigUsed, rigAvail)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRunningRig(t, Options{})
			q := r.queue[txq]
			q.stop()
			r.set(setVringNum, pair(txq, c.num))
			r.set(setVringAddr, c.addr(q))
			r.set(setVringKick, u64(txq), int(q.kick.Fd()))
			r.d.mu.Lock()
			running := r.d.running()
			r.d.mu.Unlock()
			if running {
				t.Error("the rings run")
			}
			r.set(setMemTable, table(whole), r.fd) // looks them up again
			r.reset()
			r.works()
		})
	}
}

func countFDs(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// settle waits until no descriptor and no goroutine is left beyond these.
func (r *rig) settle(fds, routines int) {
	r.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(rigPatience); ; <-tick.C {
		f, g := countFDs(r), runtime.NumGoroutine()
		switch {
		case f <= fds && g <= routines:
			return
		case time.Now().After(end):
			r.Fatalf("%d descriptors and %d goroutines, where there were %d and %d", f, g, fds, routines)
		}
	}
}
