package netd

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
)

// Pauses between two attempts to reach a hypervisor.
const (
	linkFirst = 2 * time.Millisecond
	linkMost  = 250 * time.Millisecond
	linkTime  = 5 * time.Second
)

// attached is a machine of the network.
type attached struct {
	d          *daemon
	id         string
	link, host string
	egress     string // the policy in force; d.mu is held
	ctx        context.Context
	cancel     context.CancelFunc

	mu   sync.Mutex
	open []*forward
}

// attach keeps a machine's hypervisor connected, from now on.
func (d *daemon) attach(m api.Machine) *attached {
	a := &attached{d: d, id: m.ID, link: m.Link, host: m.Host}
	a.ctx, a.cancel = context.WithCancel(d.life)
	d.running.Go(a.keepLink)
	return a
}

// stop ends its link and its forwards, without waiting for them.
func (a *attached) stop() {
	a.cancel()
	a.forward(nil)
}

// keepLink connects to the hypervisor again and again: it may not be there yet,
// and listens again after each end.
func (a *attached) keepLink() {
	pause := linkFirst
	for a.ctx.Err() == nil {
		dialer := net.Dialer{Timeout: linkTime}
		c, err := dialer.DialContext(a.ctx, "unix", a.link)
		if err == nil {
			pause = linkFirst
			err = a.d.net.Carry(a.ctx, a.id, c)
			a.d.linkChanged()
		}
		if err != nil && a.ctx.Err() == nil {
			a.d.log.Debug("link", "machine", a.id, "err", err)
		}
		select {
		case <-a.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, linkMost)
	}
}

// forward makes these its forwards: those that are there already go on.
func (a *attached) forward(want []api.Forward) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var kept []*forward
	for _, f := range a.open {
		if slices.Contains(want, f.Forward) {
			kept = append(kept, f)
		} else {
			f.stop()
		}
	}
	for _, w := range want {
		if !slices.ContainsFunc(kept, func(f *forward) bool { return f.Forward == w }) {
			kept = append(kept, a.newForward(w))
		}
	}
	a.open = kept
}

// forwards are its forwards' states.
func (a *attached) forwards() []api.ForwardState {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []api.ForwardState
	for _, f := range a.open {
		all = append(all, api.ForwardState{Forward: f.Forward, Error: f.trouble()})
	}
	return all
}
