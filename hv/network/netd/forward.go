package netd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/hv/network"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
)

const (
	listenAgain = 2 * time.Second // after a socket that can't be had
	maxConns    = 2048            // of one forward
	// maxDialing are on their way to the guest at once, of one forward: VM host and
	// agent cut off strangers where many more than that come at the same time, and who
	// has not said yet what it wants is a stranger.
	maxDialing = 16
	// turnTime is how long one waits for its turn: a thousand that come at once, on a
	// host that has much else to do, take some of it.
	turnTime = time.Minute
)

// forward is one socket of the host while it leads to a guest.
type forward struct {
	api.Forward
	a      *attached
	ctx    context.Context
	cancel context.CancelFunc
	dials  chan struct{} // one token a connection on its way to the guest

	mu  sync.Mutex
	why string // it does not listen
}

// newForward begins to listen.
func (a *attached) newForward(f api.Forward) *forward {
	x := &forward{Forward: f, a: a, why: "not yet", dials: make(chan struct{}, maxDialing)}
	x.ctx, x.cancel = context.WithCancel(a.ctx)
	a.d.running.Go(x.run)
	return x
}

// stop ends it, with its connections.
func (f *forward) stop() { f.cancel() }

// trouble says why it does not listen; "" = it does.
func (f *forward) trouble() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

func (f *forward) found(err error) {
	why := ""
	if err != nil {
		why = plain(err)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		if holder := f.a.d.holder(f.Forward); holder != "" {
			why = inUseBy(holder)
		}
	case errors.Is(err, unix.EACCES) && f.Protocol != "unix":
		why += ": a privileged port"
	}
	f.mu.Lock()
	changed := f.why != why
	f.why = why
	f.mu.Unlock()
	if changed {
		f.a.d.note(f.a.id)
	}
}

func inUseBy(machine string) string {
	return unix.EADDRINUSE.Error() + " by a forward of machine " + machine
}

// plain is why a socket can't be had, without what everybody knows.
func plain(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		err = sys.Err
	}
	return err.Error()
}

// run listens for as long as it is wanted.
func (f *forward) run() {
	for f.ctx.Err() == nil {
		if err := f.serve(); err != nil && f.ctx.Err() == nil {
			f.found(err)
			select {
			case <-f.ctx.Done():
			case <-time.After(listenAgain):
			}
		}
	}
}

func (f *forward) serve() error {
	switch {
	case f.Protocol == "udp":
		return f.serveUDP()
	case f.In:
		return f.serveIn()
	}
	l, err := f.listen()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(f.ctx, func() { _ = l.Close() })
	defer stop()
	defer func() { _ = l.Close() }()
	f.found(nil)
	places := make(chan struct{}, maxConns)
	process.Accept(l.Accept, func(c net.Conn) {
		select {
		case places <- struct{}{}:
		default:
			_ = c.Close()
			return
		}
		go func() {
			defer func() { <-places }()
			if err := f.lead(c); err != nil {
				f.a.d.log.Debug("forward", "machine", f.a.id, "listen", f.Listen, "err", err)
			}
		}()
	})
	return nil
}

func (f *forward) listen() (net.Listener, error) {
	switch f.Protocol {
	case "tcp":
		return net.Listen("tcp", f.Listen)
	case "unix":
		return files.ListenSocket(f.Listen)
	}
	return nil, fmt.Errorf("protocol %q is not known", f.Protocol)
}

// lead carries one connection to the guest. It closes c.
func (f *forward) lead(c net.Conn) error {
	g, err := f.dial()
	if err != nil {
		_ = c.Close()
		return err
	}
	network.Join(f.ctx, c, g)
	return nil
}

// dial connects to the guest when it is its turn.
func (f *forward) dial() (net.Conn, error) {
	turn, cancel := context.WithTimeout(f.ctx, turnTime)
	defer cancel()
	return f.inTurn(turn, func() (net.Conn, error) { return f.a.dialGuest(f.ctx, f.Forward) })
}

// inTurn makes a connection to the guest when it is its turn, for which it waits as
// long as ctx lasts.
func (f *forward) inTurn(ctx context.Context, dial func() (net.Conn, error)) (net.Conn, error) {
	select {
	case f.dials <- struct{}{}:
		defer func() { <-f.dials }()
		return dial()
	case <-ctx.Done():
		return nil, fmt.Errorf("dial guest: %d others are on their way: %w", maxDialing, ctx.Err())
	}
}
