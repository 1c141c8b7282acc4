package vsock

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// walkSeed is the seed of the walk, or ARCBOX_SEED.
func walkSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("ARCBOX_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ARCBOX_SEED=%d repeats what the driver writes, not how it meets the device", seed)
	return seed
}

// A driver that writes whatever it likes to wherever it likes, while the device
// reads it: descriptors, indices, flags and headers change between any two
// loads. The device never leaves guest memory, never ends, never waits for
// ever, and is sound after the guest's reset.
func TestHostileWalk(t *testing.T) {
	random := rand.New(rand.NewPCG(walkSeed(t), 0))
	fds, routines := countFDs(t), runtime.NumGoroutine()
	const rounds, steps = 30, 400
	var taken, broke, most int64
	for round := range rounds {
		r := newRig(t, Options{MaxConns: 64, CloseTimeout: time.Millisecond})
		r.start()
		if round%2 == 1 {
			for _, q := range r.queue {
				q.stop()
			}
			r.set(setFeatures, u64(features)) // with event indices
			for _, q := range r.queue {
				q.start(0)
			}
		}
		r.buffers(rigNum)
		before := heap()
		ctx, cancel := context.WithCancel(t.Context())
		var host sync.WaitGroup
		for range 3 {
			host.Go(func() { keepTalking(ctx, r.d) })
		}
		for range steps {
			scribble(random, r)
			for range 4 { // buffers go back before they are looked at
				if q := r.queue[rxq]; q.avail-q.used() < rigNum {
					q.offer(uint16(random.IntN(rigNum)))
				}
			}
			for _, q := range r.queue {
				q.ring()
			}
			if q := r.queue[txq]; q.avail-q.used() > rigNum/4 {
				r.d.turn() // else the driver would only run ahead
			}
			if b := r.broken(); random.IntN(200) == 0 || b && random.IntN(4) == 0 {
				taken += int64(r.queue[txq].used())
				if b {
					broke++
				}
				r.reset() // what a driver's reset has QEMU say
			}
		}
		taken += int64(r.queue[txq].used())
		cancel()
		host.Wait()
		if n := heap() - before; n > 64*(256<<10+blockLen)+2<<20 {
			t.Errorf("memory grew by %d bytes", n)
		} else {
			most = max(most, n)
		}
		r.set(setFeatures, u64(features&^featEventIdx))
		r.reset()
		r.flush()
		r.works()
		r.close()
	}
	t.Logf("%d chains taken, %d rings broken, memory grew by at most %d KiB", taken, broke, most>>10)
	if taken < rounds || broke < rounds {
		t.Error("the walk gets nowhere")
	}
	r := &rig{TB: t}
	r.settle(fds, routines)
}

func (r *rig) broken() bool {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return r.d.rings[rxq].fault != nil || r.d.rings[txq].fault != nil
}

// flush waits until the device has nothing more to say of what was before.
func (r *rig) flush() {
	r.Helper()
	for {
		r.d.turn()
		r.d.mu.Lock()
		idle := len(r.d.ready) == 0 && len(r.d.resets) == 0
		r.d.mu.Unlock()
		for {
			if _, ok := r.next(); !ok {
				break
			}
		}
		if idle {
			return
		}
	}
}

// keepTalking dials, listens and sends until ctx is over.
func keepTalking(ctx context.Context, d *Device) {
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		c, err := d.Dial(short, 7)
		cancel()
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = c.Write(make([]byte, 10<<10))
		_, _ = c.Read(make([]byte, 10<<10))
		_ = c.Close()
	}
}

// scribble makes one change to the guest's memory.
func scribble(random *rand.Rand, r *rig) {
	q := r.queue[random.IntN(nrq)]
	odd := func() uint64 {
		return []uint64{
			rigGPA + random.Uint64N(rigSize), rigGPA + rigPackets, rigGPA + rigSize - random.Uint64N(100),
			random.Uint64(), ^uint64(0) - random.Uint64N(100), 0,
		}[random.IntN(6)]
	}
	switch random.IntN(40) {
	case 0: // a descriptor
		q.desc(uint16(random.IntN(rigNum)), descriptor{
			odd(), uint32(random.Uint64() >> (32 + random.IntN(32))), uint16(random.IntN(8)), uint16(random.IntN(rigNum + 1)),
		})
	case 1: // a table
		at := random.IntN(rigSize/descLen-rigPackets/descLen)*descLen + rigPackets
		putDescriptor(r.mem[at:], descriptor{odd(), uint32(random.IntN(1 << 17)), uint16(random.IntN(8)), uint16(random.IntN(4))})
	case 2: // a few chains
		for range random.IntN(8) {
			q.offer(uint16(random.IntN(rigNum)))
		}
	case 3: // the index, or a word of the ring
		if random.IntN(20) == 0 {
			q.show(uint16(random.Uint32()))
		} else {
			q.put16(uint64(random.IntN(rigRing/2))*2, uint16(random.Uint32()))
		}
	default: // a packet that may even be right
		h := to(uint32(random.IntN(3)), 7, op(random.IntN(9)))
		if random.IntN(2) == 0 {
			h.dstPort = firstPort + uint32(random.IntN(100))
		}
		h.length, h.flags = uint32(random.IntN(200)), uint32(random.IntN(4))
		h.bufAlloc, h.fwdCnt = random.Uint32(), uint32(random.IntN(100))
		addr, n := r.pack(h, make([]byte, random.IntN(200)))
		i := uint16(random.IntN(rigNum))
		r.queue[txq].desc(i, descriptor{addr: addr, len: n})
		r.queue[txq].offer(i)
	}
}
