package vsock

import (
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// heap is what is reachable now.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// grown fails where more than so many bytes were added since.
func grown(t *testing.T, since, most int64, what string) {
	t.Helper()
	n := heap() - since
	t.Logf("%s: %d KiB more than before, at most %d", what, n>>10, most>>10)
	if n > most {
		t.Errorf("%s: memory grew by %d bytes, more than %d", what, n, most)
	}
}

const floodConnects = 100_000

// A guest that connects to every port gets as many refusals, and while it takes
// none it is not listened to.
func TestConnectFlood(t *testing.T) {
	r := newRig(t, Options{})
	r.start()
	before := heap()
	q := r.queue[txq]
	// Without buffers the device stops at what it can owe.
	for i := range uint32(rigNum) {
		addr, n := r.pack(to(i, i, opRequest), nil)
		q.desc(uint16(i), descriptor{addr: addr, len: n})
	}
	offered := 0
	for ; offered < maxResets; offered++ {
		q.offer(uint16(offered) % rigNum)
	}
	q.ring()
	r.taken()
	q.offer(0)
	q.ring()
	r.d.turn() // whoever was kicked has had its turn, or has it now
	if q.used() == q.avail {
		t.Fatal("a guest that takes no refusals is listened to")
	}
	offered++

	r.buffers(rigNum)
	got := 0
	for taken := offered; got < floodConnects; {
		q.await("progress", func() bool {
			return taken < floodConnects && q.avail-q.used() < rigSlots || r.queue[rxq].seen != r.queue[rxq].used()
		})
		for ; taken < floodConnects && q.avail-q.used() < rigSlots; taken++ {
			addr, n := r.pack(to(uint32(taken), uint32(taken)*7, opRequest), nil)
			at := q.avail % q.num
			q.desc(at, descriptor{addr: addr, len: n})
			q.offer(at)
		}
		q.ring()
		for {
			p, ok := r.next()
			if !ok {
				break
			}
			if p.op != opReset {
				t.Fatalf("op %d in answer to a connect", p.op)
			}
			got++
		}
	}
	grown(t, before, 1<<20, "100,000 refused connects")
	r.works()
}

// crowded is what all connections that there can be hold at most: a third of them
// their whole credit, the others a quarter, and a block each.
func crowded(most, alloc int) int64 {
	third := (most + 2) / 3
	return int64(third*alloc + (most-third)*alloc/4 + most*blockLen)
}

// A guest that connects to a port with a listener, sends and goes, again and
// again, holds no more than the device's bound, also through connections that
// it reset and the host has not closed.
func TestConnectionsThatAreReset(t *testing.T) {
	const most, alloc, host = 32, 64 << 10, 10
	r := newRunningRig(t, Options{MaxConns: most, BufAlloc: alloc, Backlog: 4 * most})
	l, err := r.d.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	var taken []net.Conn
	refused := 0
	for i := range uint32(10 * most) {
		guest := 1000 + i
		r.send(to(host, guest, opRequest), nil)
		p := r.receive()
		if p.op == opReset {
			refused++
			continue
		}
		r.spend(host, guest, p.bufAlloc)
		r.send(to(host, guest, opReset), nil)
		if i%2 == 0 { // the others stay in the backlog
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, c)
		}
	}
	if refused != 9*most {
		t.Errorf("%d connects were refused, not %d", refused, 9*most)
	}
	grown(t, before, crowded(most, alloc)+1<<20, "connections that were reset")
	if n := r.d.Conns(); n != 0 {
		t.Errorf("%d connections", n)
	}
	for _, c := range taken {
		n, err := c.Read(make([]byte, alloc))
		if n == 0 || err != nil {
			t.Errorf("what was sent before the reset: %d bytes, %v", n, err)
		}
		_ = c.Close()
	}
	_ = l.Close()
	r.works()
	if r.d.held != 0 {
		t.Errorf("%d connections are held, by nobody", r.d.held)
	}
	grown(t, before, idleBlocks*blockLen+1<<20, "after all were closed")
}

// A guest that fills every connection that there can be, and then sends more,
// gets as far as its credit.
func TestMemoryOfFullConnections(t *testing.T) {
	const most, alloc, host = 64, 128 << 10, 10
	r := newRunningRig(t, Options{MaxConns: most, BufAlloc: alloc, Backlog: most})
	l, err := r.d.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for i := range uint32(most) {
		takes := r.accept(l, host, i).(*conn).alloc
		// In the smallest pieces first: what they cost is their bytes.
		for range 100 {
			r.spend(host, i, 1)
		}
		r.spend(host, i, takes-100)
		for range 100 {
			r.spend(host, i, 0)
		}
	}
	grown(t, before, crowded(most, alloc)+1<<20, "full connections")
	for i := range uint32(most) {
		r.spend(host, i, 1)
		r.expect(opReset)
	}
	grown(t, before, crowded(most, alloc)+1<<20, "connections that overran")
}

// A guest that never agrees to the end of a connection has it reset, in time.
func TestCloseIsNeverAnswered(t *testing.T) {
	const host = 10
	r := newRunningRig(t, Options{CloseTimeout: 10 * time.Millisecond})
	l, err := r.d.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(200) {
		c := r.accept(l, host, i)
		_ = c.Close()
		r.expect(opShutdown)
		r.expect(opReset)
	}
	if n := r.d.Conns(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// Rings that stop, start, are disabled and get another memory while both sides
// send: nothing is touched that is gone, and in the end the device is sound.
func TestRingsAreTakenAway(t *testing.T) {
	fds, routines := countFDs(t), runtime.NumGoroutine()
	r := newRunningRig(t, Options{})
	l, err := r.d.Listen(10)
	if err != nil {
		t.Fatal(err)
	}
	var host sync.WaitGroup
	host.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Second))
				_, _ = c.Write(make([]byte, 100<<10))
			})
		}
	})
	for i := range uint32(300) {
		q := r.queue[txq]
		for j := range uint32(8) {
			addr, n := r.pack(to(10, 8*i+j, opRequest), nil)
			at := q.avail % q.num
			q.desc(at, descriptor{addr: addr, len: n})
			q.offer(at)
		}
		q.ring()
		switch i % 5 {
		case 0:
			r.set(setMemTable, table(whole), r.fd)
		case 1:
			r.set(setVringEnable, pair(i%2, 0))
			r.set(setVringEnable, pair(i%2, 1))
		case 2:
			r.set(setMemTable, table()) // no memory at all
			r.set(setMemTable, table(whole), r.fd)
		case 3:
			r.set(resetOwner, nil)
			r.set(setMemTable, table(whole), r.fd)
		}
		r.reset()
	}
	r.set(setMemTable, table(whole), r.fd)
	_ = l.Close()
	r.reset()
	r.works()
	r.close()
	host.Wait()
	r.settle(fds, routines)
}
