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

	mu    sync.Mutex
	name  string
	open  []*forward
	said  []api.Forward // by the engine
	heard []api.Forward // of the guest
	// barred are those of heard whose socket another forward of the machine has.
	barred []api.Forward
	// unfollow ends the asking for what the guest listens at; nil = nobody asks.
	unfollow context.CancelFunc
	autoWhy  string // why not all of that has a forward
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
	a.forward(nil, false)
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

// called says what the machine is called now.
func (a *attached) called(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name = name
}

// forward makes these its forwards, beside those of what its guest listens at where
// auto is set.
func (a *attached) forward(said []api.Forward, auto bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = said
	a.followed(auto)
	a.arrange()
}

// arrange opens and closes forwards until they are those that are wanted: those that
// are there already go on. a.mu is held.
func (a *attached) arrange() {
	want, barred := a.wanted()
	a.barred = barred
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

// listens tells whether one of its forwards has the socket that f wants, and what the
// machine is called.
func (a *attached) listens(f api.Forward) (name string, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name, slices.ContainsFunc(a.open, func(o *forward) bool {
		return o.Protocol == f.Protocol && portOf(o.Listen) == portOf(f.Listen) && o.trouble() == ""
	})
}

// forwards are its forwards' states, and why some are missing.
func (a *attached) forwards() (all []api.ForwardState, autoWhy string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.open {
		all = append(all, api.ForwardState{Forward: f.Forward, Error: f.trouble()})
	}
	for _, f := range a.barred {
		all = append(all, api.ForwardState{Forward: f, Error: inUseBy(a.name)})
	}
	return all, a.autoWhy
}
