package netd

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
)

// daemon is the network process at work.
type daemon struct {
	version string
	log     *slog.Logger
	started time.Time
	net     *network.Network
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	idle    chan struct{} // closed when there has been nothing to do for a while
	turns   atomic.Uint64 // connections of engines so far

	mu       sync.Mutex
	closed   bool
	machines map[string]*attached
	now      *session
	entered  uint64      // the newest turn that has been now
	timer    *time.Timer // to the end of the idle time; nil = busy
	served   bool        // an engine was there
	alone    bool        // what the timer counts: no engine, instead of no machine

	notes chan struct{} // one token: something has changed
	dmu   sync.Mutex    // of dirty; it is taken last
	dirty map[string]bool
}

func newDaemon(version string, log *slog.Logger, o network.Options) (*daemon, error) {
	d := &daemon{
		version: version, log: log, started: time.Now(), machines: map[string]*attached{},
		idle: make(chan struct{}), notes: make(chan struct{}, 1), dirty: map[string]bool{},
	}
	o.Changed = d.note
	n, err := network.New(o)
	if err != nil {
		return nil, err
	}
	d.net = n
	d.life, d.end = context.WithCancel(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rest()
	return d, nil
}

// close ends all of it.
func (d *daemon) close() {
	d.mu.Lock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	s := d.now
	all := d.machines
	d.machines = map[string]*attached{}
	d.mu.Unlock()
	if s != nil {
		_ = s.conn.Close()
	}
	d.end()
	for _, a := range all {
		a.stop()
	}
	d.running.Wait()
	d.net.Close()
}

// set makes a machine belong to the network, or changes what is known of it.
func (d *daemon) set(m api.Machine) error {
	c, err := m.Check()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return network.ErrClosed
	}
	if err := d.net.Set(network.Machine{ID: m.ID, Name: m.Name, MAC: c.MAC, Addr: c.Addr, Egress: c.Egress}); err != nil {
		return err
	}
	a := d.machines[m.ID]
	if a != nil && (a.link != m.Link || a.host != m.Host) {
		a.stop()
		a = nil
	}
	if a == nil {
		a = d.attach(m)
		d.machines[m.ID] = a
	}
	a.egress = c.Policy
	a.called(m.Name)
	a.forward(m.Forwards, m.AutoPorts)
	d.rest()
	d.note(m.ID)
	return nil
}

// drop takes a machine off the network.
func (d *daemon) drop(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.machines[id]; a != nil {
		a.stop()
	}
	delete(d.machines, id)
	d.net.Drop(id)
	d.rest()
}

// only drops every machine but these.
func (d *daemon) only(ids map[string]bool) {
	d.mu.Lock()
	var others []string
	for id := range d.machines {
		if !ids[id] {
			others = append(others, id)
		}
	}
	d.mu.Unlock()
	for _, id := range others {
		d.drop(id)
	}
}

// holder is the machine whose forward has the socket that f wants; "" = none of ours.
func (d *daemon) holder(f api.Forward) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.machines {
		if name, ok := a.listens(f); ok {
			return name
		}
	}
	return ""
}

// rest begins to count the time in which there is nothing to do, or stops
// counting. d.mu is held.
func (d *daemon) rest() {
	alone := len(d.machines) > 0 && d.now == nil && !d.linked()
	if len(d.machines) > 0 && !alone || d.closed {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		return
	}
	if d.timer != nil && d.alone == alone && d.now != nil {
		return
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	limit := idleTime
	switch {
	case alone:
		limit = aloneTime
	case d.now == nil && d.served:
		limit = lastTime
	}
	d.alone = alone
	var t *time.Timer
	t = time.AfterFunc(limit, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer != t || d.closed {
			return
		}
		d.timer = nil
		if alone && d.linked() {
			return // the end of the last link counts anew
		}
		d.closed = true
		close(d.idle)
	})
	d.timer = t
}

// linked tells whether any hypervisor is there. d.mu is held.
func (d *daemon) linked() bool {
	for id := range d.machines {
		if s, ok := d.net.Stats(id); ok && s.Linked {
			return true
		}
	}
	return false
}

// note remembers that a machine has changed. It takes no lock but its own.
func (d *daemon) note(id string) {
	d.dmu.Lock()
	d.dirty[id] = true
	d.dmu.Unlock()
	select {
	case d.notes <- struct{}{}:
	default:
	}
}

// noted takes the machines that have changed.
func (d *daemon) noted() []string {
	d.dmu.Lock()
	defer d.dmu.Unlock()
	ids := make([]string, 0, len(d.dirty))
	for id := range d.dirty {
		ids = append(ids, id)
	}
	clear(d.dirty)
	return ids
}
