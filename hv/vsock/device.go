package vsock

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Options of a device. The zero value of each means its default.
type Options struct {
	Log *slog.Logger // default: none
	// MaxConns bounds the connections, those included that are just closing and
	// those whose guest is gone but that the host has not closed. Default 1536.
	MaxConns int
	// BufAlloc is how many bytes a connection takes from the guest before its
	// reader has read them. Default 256 KiB, as Linux has it. One that comes while a
	// third of MaxConns are there takes a quarter, so that many cost no more memory
	// than they did when there were fewer.
	BufAlloc uint32
	// Backlog bounds the connections that a listener has not accepted yet.
	// Default 128.
	Backlog int
	// CloseTimeout is how long a closed connection waits for the guest to
	// agree before it is reset. Default 8 s, as Linux has it.
	CloseTimeout time.Duration
	// ConnectTimeout bounds what a client of ServeConnect may take to send its
	// line, and then the guest to answer. Default 20 s.
	ConnectTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 1536
	}
	if o.BufAlloc == 0 {
		o.BufAlloc = 256 << 10
	}
	if o.Backlog <= 0 {
		o.Backlog = 128
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 8 * time.Second
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 20 * time.Second
	}
	return o
}

// Device is the vsock device of one VM.
type Device struct {
	cid hv.CID
	o   Options
	log *slog.Logger

	// life ends with the device; die ends it.
	life context.Context
	die  context.CancelFunc
	wg   sync.WaitGroup // Serve and ServeConnect
	// tasks are Serve's own goroutines.
	tasks sync.WaitGroup
	again chan struct{} // wakes leftover

	mu       sync.Mutex
	up       *sync.Cond // the rings run, or never will again
	ended    bool
	front    *net.UnixConn
	protocol uint64
	mem      memory
	rings    [nrq]ring
	segs     segments // space for one chain

	table     map[key]*conn
	held      int // conns that left the table before the host closed them
	listeners map[uint32]*listener
	ready     []*conn  // conns that may have something to send, each once
	resets    []header // RSTs owed to what is not in the table
	stalled   bool     // the tx ring waits for resets to shrink
	lastPort  uint32
	pool      blocks
}

// New makes the device of the VM that has the CID. It does nothing until Serve.
func New(cid hv.CID, o Options) *Device {
	d := &Device{
		cid:       cid,
		o:         o.withDefaults(),
		again:     make(chan struct{}, 1),
		segs:      make(segments, 0, maxSegments),
		table:     make(map[key]*conn),
		listeners: make(map[uint32]*listener),
		lastPort:  firstPort - 1,
	}
	d.log = d.o.Log
	d.life, d.die = context.WithCancel(context.Background())
	d.up = sync.NewCond(&d.mu)
	for i := range d.rings {
		d.rings[i].call = -1
	}
	return d
}

// Conns is the number of connections, those that are just closing included.
func (d *Device) Conns() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.table)
}

// Close ends the device: Serve and ServeConnect return, connections are reset,
// listeners closed. When it returns, no goroutine is left.
func (d *Device) Close() error {
	d.end()
	d.wg.Wait()
	return nil
}

// end ends everything but the goroutines, which notice. It tells whether it was
// the device's end already.
func (d *Device) end() (already bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return true
	}
	d.ended = true
	d.die()
	if d.front != nil {
		_ = d.front.Close()
	}
	d.resetAll("")
	for _, l := range d.listeners {
		l.shut()
	}
	for i := range d.rings {
		d.stopRing(&d.rings[i])
		d.rings[i].closeCall()
	}
	d.mem.unmap()
	d.mem = nil
	d.up.Broadcast()
	return false
}

// running tells whether packets can go both ways.
func (d *Device) running() bool {
	return d.rings[rxq].running() && d.rings[txq].running()
}

// ringsChanged follows each change that may have set the rings running.
func (d *Device) ringsChanged() {
	if d.running() {
		d.up.Broadcast()
		d.poke()
	}
}

func (d *Device) startRing(r *ring) {
	if err := r.start(d.mem); err != nil {
		d.breakRing(r, err)
	}
}

// stopRing lets go of a ring. Its index stays: it is where the guest will go on,
// if it is still the same.
func (d *Device) stopRing(r *ring) {
	r.stop()
	r.closeKick()
}

// breakRing stops serving a ring that breaks the rules, and all connections,
// until the driver sets it up anew.
func (d *Device) breakRing(r *ring, err error) {
	r.fault = err
	d.log.Warn("vsock ring stopped: the guest broke its rules", "cid", d.cid, "tx", r == &d.rings[txq], "err", err)
	d.resetAll("the guest broke a ring")
}

// resetAll fails every connection that the guest knows or knew. why is logged
// where there was any.
func (d *Device) resetAll(why string) {
	if len(d.table) > 0 && why != "" {
		d.log.Info("vsock connections reset", "cid", d.cid, "conns", len(d.table), "why", why)
	}
	for _, c := range d.table {
		c.drop(syscall.ECONNRESET, false)
	}
	for _, l := range d.listeners {
		l.empty()
	}
	clear(d.ready)
	d.ready, d.resets, d.stalled = nil, nil, false
}

// kicks serves a ring's kick descriptor until it is closed.
func (d *Device) kicks(f *os.File) {
	var count [8]byte
	for {
		if _, err := io.ReadFull(f, count[:]); err != nil {
			return
		}
		d.turn()
	}
}

// leftover does what was put off to let others have the lock.
func (d *Device) leftover() {
	for {
		select {
		case <-d.again:
			d.turn()
		case <-d.life.Done():
			return
		}
	}
}

// poke has leftover run.
func (d *Device) poke() {
	select {
	case d.again <- struct{}{}:
	default: // it will run anyway
	}
}

// turn takes what the guest sent and sends what can be sent.
func (d *Device) turn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drain()
	d.pump()
}

var one = [8]byte{1} // an eventfd's increment

// signal shows the guest what was completed, and interrupts it if it wants to
// be. A full eventfd is a signal too, so errors don't matter.
func (d *Device) signal(r *ring) {
	if r.publish() && r.call >= 0 {
		_, _ = syscall.Write(r.call, one[:])
	}
}
