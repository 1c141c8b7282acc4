package netd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
)

const (
	followAgain = time.Second // after a guest's agent that has gone
	// heardPause is between two lists of a guest's, however fast it sends them:
	// each may open and close as many sockets as it may have.
	heardPause = 250 * time.Millisecond
	maxWhy     = 300
)

// wanted are the forwards that there should be: those that the engine said, and of
// what the guest listens at those that lead to none of these ports. The barred ones
// want the same port of the host as one that the engine said. a.mu is held.
func (a *attached) wanted() (want, barred []api.Forward) {
	want = slices.Clone(a.said)
	for _, h := range a.heard {
		said := func(of func(api.Forward) string, what string) bool {
			return slices.ContainsFunc(a.said, func(f api.Forward) bool { return f.Protocol == h.Protocol && portOf(of(f)) == portOf(what) })
		}
		switch {
		case said(func(f api.Forward) string { return f.To }, h.To):
		case said(func(f api.Forward) string { return f.Listen }, h.Listen):
			barred = append(barred, h)
		default:
			want = append(want, h)
		}
	}
	return want, barred
}

// followed begins to ask what the guest listens at, or ends it. a.mu is held.
func (a *attached) followed(wanted bool) {
	switch {
	case wanted && a.unfollow == nil:
		ctx, cancel := context.WithCancel(a.ctx)
		a.unfollow, a.autoWhy = cancel, "not yet"
		a.d.running.Go(func() { a.follow(ctx) })
	case !wanted && a.unfollow != nil:
		a.unfollow()
		a.unfollow, a.heard, a.autoWhy = nil, nil, ""
	}
}

// follow hears what the guest listens at for as long as that is wanted. Between a
// guest that has gone and the next list of one, all stays as it was: it may be back
// in a moment.
func (a *attached) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.listenTo(ctx)
		a.learn(ctx, func() { a.autoWhy = unheard(err) })
		if errors.Is(err, guest.ErrUnable) {
			return // its next VM has another agent, and is attached anew
		}
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
	}
}

// listenTo hears one agent to its end.
func (a *attached) listenTo(ctx context.Context) error {
	if _, err := guest.AwaitReady(ctx, a.dialAgent, guest.Probe{Most: time.Second}); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, guestTime)
	c, err := guest.Connect(limited, a.dialAgent)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return c.Listeners(ctx, func(list []guest.Listener, more uint32) {
		a.learn(ctx, func() {
			a.heard, a.autoWhy = forwardsOf(list), ""
			if more > 0 {
				a.autoWhy = fmt.Sprintf("the guest listens at %d further ports: at most %d are forwarded", more, len(list))
			}
			a.arrange()
		})
		select {
		case <-ctx.Done():
		case <-time.After(heardPause):
		}
	})
}

// learn changes what is known of the guest, unless nobody wants to know any more.
func (a *attached) learn(ctx context.Context, change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	change()
	a.d.note(a.id)
}

func unheard(err error) string {
	why := err.Error()
	if len(why) > maxWhy {
		why = why[:maxWhy] + "…"
	}
	return "the guest does not tell what it listens at: " + why
}

// forwardsOf are the forwards of what a guest listens at: the same ports of the
// host's loopback, for this host alone.
func forwardsOf(list []guest.Listener) []api.Forward {
	var all []api.Forward
	for _, l := range list {
		port := strconv.Itoa(int(l.Port))
		f := api.Forward{Protocol: "tcp", Listen: net.JoinHostPort("127.0.0.1", port), To: port, Auto: true}
		if l.Addr.IsValid() {
			f.To = netip.AddrPortFrom(l.Addr, l.Port).String()
		}
		all = append(all, f)
	}
	return all
}

// portOf is the port of an address, or all of what has none.
func portOf(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return strconv.Itoa(int(at.Port()))
	}
	return address
}
