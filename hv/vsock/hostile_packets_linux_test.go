package vsock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// Packets of nobody's connection: each is answered as it must be, or not.
func TestHostilePackets(t *testing.T) {
	base := to(5, 6, opData)
	for _, c := range []struct {
		name   string
		change func(h *header)
		reset  bool
	}{
		{"data", func(*header) {}, true},
		{"request to a port on which nobody listens", func(h *header) { h.op = opRequest }, true},
		{"response", func(h *header) { h.op = opResponse }, true},
		{"reset", func(h *header) { h.op = opReset }, false},
		{"shutdown", func(h *header) { h.op, h.flags = opShutdown, ^uint32(0) }, true},
		{"credit request", func(h *header) { h.op = opCreditRequest }, true},
		{"op 0", func(h *header) { h.op = 0 }, true},
		{"op 65535", func(h *header) { h.op = 0xFFFF }, true},
		{"seqpacket", func(h *header) { h.kind = 2 }, true},
		{"seqpacket request", func(h *header) { h.kind, h.op = 2, opRequest }, true},
		{"seqpacket reset", func(h *header) { h.kind, h.op = 2, opReset }, false},
		{"type 0", func(h *header) { h.kind = 0 }, true},
		{"type 65535", func(h *header) { h.kind = 0xFFFF }, true},
		{"all ports", func(h *header) { h.srcPort, h.dstPort = anyPort, anyPort }, true},
		{"length 4 GiB", func(h *header) { h.length = ^uint32(0) }, true},
		{"from another", func(h *header) { h.srcCID++ }, false},
		{"from the host", func(h *header) { h.srcCID = 2 }, false},
		{"from all", func(h *header) { h.srcCID = ^uint64(0) }, false},
		{"from us with high bits", func(h *header) { h.srcCID |= 1 << 32 }, false},
		{"to itself", func(h *header) { h.dstCID = uint64(rigCID) }, false},
		{"to the hypervisor", func(h *header) { h.dstCID = 0 }, false},
		{"to all", func(h *header) { h.dstCID = ^uint64(0) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRunningRig(t, Options{})
			h := base
			c.change(&h)
			r.send(h, nil)
			if c.reset {
				p := r.expect(opReset)
				if p.kind != h.kind || p.srcPort != h.dstPort || p.dstPort != h.srcPort {
					t.Errorf("answered with %+v", p.header)
				}
			}
			r.works() // its first packet is a RESPONSE: there was nothing else
			if n := r.d.Conns(); n != 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// Packets of a connection that break its rules end it, and it alone.
func TestHostileStream(t *testing.T) {
	const host, guest = 10, 20
	for _, c := range []struct {
		name string
		bad  func(r *rig)
	}{
		{"a second request", func(r *rig) { r.send(to(host, guest, opRequest), nil) }},
		{"op 99", func(r *rig) { r.send(to(host, guest, 99), nil) }},
		{"length beyond the packet", func(r *rig) {
			h := to(host, guest, opData)
			h.length = 6
			r.send(h, []byte("short"))
		}},
		{"length 4 GiB", func(r *rig) {
			h := to(host, guest, opData)
			h.length = ^uint32(0)
			r.send(h, []byte("short"))
		}},
		{"beyond the credit", func(r *rig) {
			r.spend(host, guest, r.d.o.BufAlloc)
			r.spend(host, guest, 1)
		}},
		{"data behind its end", func(r *rig) {
			h := to(host, guest, opShutdown)
			h.flags = shutSend
			r.send(h, nil)
			r.spend(host, guest, 1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRunningRig(t, Options{})
			l, err := r.d.Listen(host)
			if err != nil {
				t.Fatal(err)
			}
			good, bad := r.accept(l, host, guest+1), r.accept(l, host, guest)
			c.bad(r)
			if p := r.expect(opReset); p.dstPort != guest {
				t.Errorf("port %d was reset", p.dstPort)
			}
			n, err := io.Copy(io.Discard, bad)
			if n > int64(r.d.o.BufAlloc) || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read %d bytes, %v", n, err)
			}
			if _, err := bad.Write([]byte{1}); err == nil {
				t.Error("a write succeeded")
			}
			r.spend(host, guest+1, 1)
			if n, err := good.Read(make([]byte, 2)); n != 1 || err != nil {
				t.Errorf("the other connection: %d bytes, %v", n, err)
			}
			r.works()
		})
	}
}

// spend sends so many bytes of data.
func (r *rig) spend(host, guest, n uint32) {
	r.Helper()
	for n > 0 {
		h := to(host, guest, opData)
		h.length = min(n, maxPayload)
		r.send(h, make([]byte, h.length))
		n -= h.length
	}
}

// Whatever a guest says of its buffers, a Write sends no more than that, ends
// with its deadline, and goes on where it stopped once there is room.
func TestHostileCredit(t *testing.T) {
	const host, guest = 10, 20
	r := newRunningRig(t, Options{})
	l, err := r.d.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	c := r.accept(l, host, guest)
	say := func(alloc, fwd uint32) {
		h := to(host, guest, opCreditUpdate)
		h.bufAlloc, h.fwdCnt = alloc, fwd
		r.send(h, nil)
	}
	write := func() (int, error) {
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		return c.Write(make([]byte, 1000))
	}
	sent := uint32(0)
	for _, step := range []struct {
		name       string
		alloc, fwd uint32
		want       int
	}{
		{"no buffer", 0, 0, 0},
		{"ten bytes", 10, 0, 10},
		{"none again", 0, 0, 0},
		{"less than is on its way", 5, 0, 0},
		{"read more than was sent", 10, 11, 0},
		{"read far more than was sent", 10, 1 << 31, 0},
		{"read less than before", 110, 0, 100},
		{"everything read", 10, 110, 10},
		{"backwards", 10, 0, 0},
		{"all the world", ^uint32(0), 120, 1000},
	} {
		say(step.alloc, step.fwd)
		n, err := write()
		if n != step.want || (n < 1000) != errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: wrote %d, %v; %d is right", step.name, n, err, step.want)
		}
		for got := 0; got < n; {
			got += len(r.expect(opData).data)
		}
		sent += uint32(n)
	}
	r.works()
}

// A guest that takes a connection and then nothing holds up nobody.
func TestGuestThatNeverReads(t *testing.T) {
	r := newRunningRig(t, Options{})
	l, err := r.d.Listen(10)
	if err != nil {
		t.Fatal(err)
	}
	h := to(10, 20, opRequest)
	h.bufAlloc = 0
	r.send(h, nil)
	r.expect(opResponse)
	stuck, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := stuck.Write(make([]byte, 1<<20))
		ended <- err
	}()
	for range 20 {
		r.works()
	}
	_ = stuck.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the write ended with %v", err)
	}
}

// A guest that never answers a dial costs the caller its own patience, and the
// device one place until the guest takes the RST.
func TestHalfOpenDials(t *testing.T) {
	const most = 100
	r := newRig(t, Options{MaxConns: most})
	r.start() // and no buffers: nothing reaches the guest
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 4*most)
	for range cap(errs) {
		go func() {
			_, err := r.d.Dial(ctx, 1024)
			errs <- err
		}()
	}
	refused := func(want error, n int) {
		t.Helper()
		for range n {
			if err := <-errs; !errors.Is(err, want) {
				t.Fatalf("a dial ended with %v, not %v", err, want)
			}
		}
	}
	refused(syscall.ENOBUFS, 3*most)
	if n := r.d.Conns(); n != most {
		t.Errorf("%d connections", n)
	}
	cancel()
	refused(context.Canceled, most)
	if n := r.d.Conns(); n != 0 {
		t.Errorf("%d connections that the guest never heard of are left", n)
	}
	r.buffers(rigNum)
	r.works()
}
