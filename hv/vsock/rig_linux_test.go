package vsock

import (
	"encoding/binary"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Where the rig's memory lies: for the guest, for the front end, and what is
// where in it.
const (
	rigCID      = hv.CID(42)
	rigGPA      = 1 << 30
	rigUVA      = 0x7000_0000_0000
	rigSize     = 16 << 20
	rigRing     = 0x10000 // from one ring to the next
	rigAvail    = 0x4000
	rigUsed     = 0x8000
	rigNum      = 256
	rigBuffers  = 0x100000 // receive buffers, rigBuffer each
	rigBuffer   = 4096
	rigPackets  = 0x800000 // packets to send, rigPacket each
	rigPacket   = 0x11000
	rigSlots    = 64
	rigPatience = 60 * time.Second // for liveness, not for speed
)

// rig is QEMU and the guest's driver in one: what a test does to a device, well
// or badly. It is used by one goroutine.
type rig struct {
	testing.TB
	d      *Device
	conn   *net.UnixConn
	served chan error
	fd     int
	mem    []byte
	queue  [nrq]*queue
	slot   int
	once   sync.Once
}

// queue is the driver's side of a ring.
type queue struct {
	*rig
	index      int
	num        uint16
	base       uint64 // in mem
	avail      uint16
	seen       uint16 // of the used ring
	kick, call *os.File
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	r := &rig{TB: t, d: New(rigCID, o), served: make(chan error, 1)}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.conn = r.socket(ends[0])
	device := r.socket(ends[1])
	go func() { r.served <- r.d.Serve(device) }()
	if r.fd, err = unix.MemfdCreate("guest", unix.MFD_CLOEXEC); err == nil {
		err = unix.Ftruncate(r.fd, rigSize)
	}
	if err == nil {
		r.mem, err = unix.Mmap(r.fd, 0, rigSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.queue {
		r.queue[i] = &queue{rig: r, index: i, num: rigNum, base: uint64(i) * rigRing}
	}
	t.Cleanup(r.close)
	return r
}

// newRunningRig is a rig whose rings run, with all receive buffers offered.
func newRunningRig(t testing.TB, o Options) *rig {
	t.Helper()
	r := newRig(t, o)
	r.start()
	r.buffers(rigNum)
	return r
}

func (r *rig) socket(fd int) *net.UnixConn {
	f := os.NewFile(uintptr(fd), "vhost-user")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		r.Fatal(err)
	}
	return c.(*net.UnixConn)
}

func (r *rig) close() {
	r.once.Do(func() {
		_ = r.d.Close()
		_ = r.conn.Close()
		select {
		case <-r.served:
		case <-time.After(rigPatience):
			r.Error("Serve did not end with its device")
		}
		for _, q := range r.queue {
			q.closeFDs()
		}
		_ = unix.Munmap(r.mem)
		_ = unix.Close(r.fd)
	})
}

// tell sends one message.
func (r *rig) tell(req request, flags uint32, body []byte, fds ...int) {
	r.Helper()
	b := binary.LittleEndian.AppendUint32(nil, uint32(req))
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := r.conn.WriteMsgUnix(append(b, body...), oob, nil); err != nil {
		r.Fatalf("request %d: %v", req, err)
	}
}

// ask sends one message and returns the body of its answer.
func (r *rig) ask(req request, flags uint32, body []byte, fds ...int) []byte {
	r.Helper()
	r.tell(req, flags, body, fds...)
	_ = r.conn.SetReadDeadline(time.Now().Add(rigPatience))
	head := r.read(messageHeader)
	if got := request(binary.LittleEndian.Uint32(head)); got != req {
		r.Fatalf("request %d was answered with %d", req, got)
	}
	return r.read(int(binary.LittleEndian.Uint32(head[8:])))
}

func (r *rig) read(n int) []byte {
	r.Helper()
	b := make([]byte, n)
	for got := 0; got < n; {
		more, err := r.conn.Read(b[got:])
		if err != nil {
			r.Fatalf("answer: %v", err)
		}
		got += more
	}
	return b
}

// set sends a message that must be taken: it waits for the acknowledgement.
func (r *rig) set(req request, body []byte, fds ...int) {
	r.Helper()
	if status := r.ack(req, body, fds...); status != 0 {
		r.Fatalf("request %d was refused", req)
	}
}

// ack is what the device acknowledges a message with; 0 is good.
func (r *rig) ack(req request, body []byte, fds ...int) uint64 {
	r.Helper()
	return binary.LittleEndian.Uint64(r.ask(req, flagVersion|flagNeedReply, body, fds...))
}

func pair(a, b uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, a), b)
}

// table is the body of SET_MEM_TABLE.
func table(regions ...regionEntry) []byte {
	b := pair(uint32(len(regions)), 0)
	for _, e := range regions {
		for _, v := range []uint64{e.gpa, e.size, e.uva, e.offset} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return b
}

// whole is all of the rig's memory.
var whole = regionEntry{gpa: rigGPA, size: rigSize, uva: rigUVA}

// start does the handshake. Without event indices each packet is signalled.
func (r *rig) start() {
	r.Helper()
	r.tell(setProtocolFeatures, flagVersion, u64(protocol))
	r.set(setFeatures, u64(features&^featEventIdx))
	r.set(setMemTable, table(whole), r.fd)
	for _, q := range r.queue {
		q.start(0)
	}
}

// start sets the ring up anew, from an index on, and has it run.
func (q *queue) start(at uint16) {
	q.Helper()
	clear(q.mem[q.base : q.base+rigRing])
	q.avail, q.seen = at, at
	q.put16(rigAvail+2, at)
	q.put16(rigUsed+2, at)
	i := uint32(q.index)
	q.set(setVringNum, pair(i, uint32(q.num)))
	q.set(setVringBase, pair(i, uint32(at)))
	q.set(setVringAddr, q.addr(0, rigUsed, rigAvail))
	q.closeFDs()
	q.kick, q.call = q.eventfd(), q.eventfd()
	q.set(setVringCall, u64(uint64(i)), int(q.call.Fd()))
	q.set(setVringKick, u64(uint64(i)), int(q.kick.Fd()))
	// Fd makes a file blocking, for all that share it.
	_ = unix.SetNonblock(int(q.kick.Fd()), true)
	q.set(setVringEnable, pair(i, 1))
}

// addr is the body of SET_VRING_ADDR for offsets in the ring.
func (q *queue) addr(desc, used, avail uint64) []byte {
	b := pair(uint32(q.index), 0)
	for _, at := range []uint64{desc, used, avail} {
		b = binary.LittleEndian.AppendUint64(b, rigUVA+q.base+at)
	}
	return append(b, make([]byte, 8)...)
}

func (q *queue) eventfd() *os.File {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		q.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "eventfd")
}

func (q *queue) closeFDs() {
	if q.kick != nil {
		_ = q.kick.Close()
		_ = q.call.Close()
	}
}

// stop is GET_VRING_BASE.
func (q *queue) stop() uint16 {
	q.Helper()
	return uint16(binary.LittleEndian.Uint32(q.ask(getVringBase, flagVersion, pair(uint32(q.index), 0))[4:]))
}

// reset is what a guest's reset looks like: both rings begin again at 0.
func (r *rig) reset() {
	r.Helper()
	for _, q := range r.queue {
		q.stop()
	}
	for _, q := range r.queue {
		q.start(0)
	}
	r.buffers(rigNum)
}

func (q *queue) put16(at uint64, v uint16) {
	binary.LittleEndian.PutUint16(q.mem[q.base+at:], v)
}

// desc writes one descriptor of the ring's own table.
func (q *queue) desc(i uint16, d descriptor) { putDescriptor(q.mem[q.base+uint64(i)*descLen:], d) }

func putDescriptor(b []byte, d descriptor) {
	le := binary.LittleEndian
	le.PutUint64(b, d.addr)
	le.PutUint32(b[8:], d.len)
	le.PutUint16(b[12:], d.flags)
	le.PutUint16(b[14:], d.next)
}

// offer shows the device one more chain, without a kick.
func (q *queue) offer(head uint16) {
	q.put16(rigAvail+4+2*uint64(q.avail%q.num), head)
	q.show(q.avail + 1)
}

// show sets the avail index.
func (q *queue) show(avail uint16) {
	q.avail = avail
	atomic.StoreUint32(word(q.mem[q.base:], rigAvail), uint32(avail)<<16)
}

func (q *queue) ring() {
	if _, err := syscall.Write(int(q.kick.Fd()), one[:]); err != nil && err != syscall.EAGAIN {
		q.Fatalf("kick: %v", err)
	}
}

// used is the device's used index.
func (q *queue) used() uint16 {
	return uint16(atomic.LoadUint32(word(q.mem[q.base:], rigUsed)) >> 16)
}

// await waits for interrupts until cond holds.
func (q *queue) await(what string, cond func() bool) {
	q.Helper()
	var count [8]byte
	for end := time.Now().Add(rigPatience); !cond(); {
		if time.Now().After(end) {
			q.Fatalf("ring %d: %s: not within %s", q.index, what, rigPatience)
		}
		p := []unix.PollFd{{Fd: int32(q.call.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 100); err != nil && err != unix.EINTR {
			q.Fatal(err)
		}
		_, _ = syscall.Read(int(q.call.Fd()), count[:])
	}
}
