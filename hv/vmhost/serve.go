package vmhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// Bounds of the socket. Whatever may last (wait, dial, all that waits for the
// driver) and whoever has said nothing yet leave room for hello and kill, which
// wait for nothing.
const (
	maxConns   = 1536
	maxSilent  = 128                    // whose request has not come yet: 64 KiB each at most
	maxStreams = maxConns - 2*maxSilent // 1,000 forwarded connections, and all else
	maxFDs     = 4                      // descriptors taken off a request; only one is ever used
)

const (
	readTime  = 5 * time.Second  // for a request to arrive
	writeTime = 10 * time.Second // for one line to be taken
	opTime    = 10 * time.Second // for the driver to carry out an operation
)

// refusal is an error that goes to the requester.
type refusal struct {
	code api.Code
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// codeOf says how an error is called on the socket.
func codeOf(err error) api.Code {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.code
	case errors.Is(err, hv.ErrUnsupported):
		return api.CodeUnsupported
	case errors.Is(err, hv.ErrGone):
		return api.CodeGone
	case errors.Is(err, syscall.ECONNREFUSED):
		return api.CodeRefused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return api.CodeTimeout
	}
	return api.CodeInternal
}

// serve answers one request a connection until the listener is closed.
func (h *host) serve(ctx context.Context, l *net.UnixListener) {
	process.Accept(l.AcceptUnix, func(c *net.UnixConn) {
		r := &requester{UnixConn: c, answered: sync.OnceFunc(h.drain.leave)}
		h.lobby.enter(r)
		h.conns <- struct{}{} // there is room, or somebody is just leaving
		h.drain.enter()
		go func() {
			defer func() { <-h.conns }()
			h.handle(ctx, r)
		}()
	})
}

// handle carries out one request.
func (h *host) handle(ctx context.Context, c *requester) {
	defer c.answered()
	defer c.shut()
	defer h.lobby.leave(c)
	if err := process.Admitted(c.UnixConn); err != nil {
		if !errors.Is(err, net.ErrClosed) { // it had to make room
			h.log.Warn("somebody was turned away", "err", err)
		}
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(readTime))
	line, rest, err := api.ReadLine(requestReader{c})
	_ = c.SetReadDeadline(time.Time{})
	h.lobby.leave(c)
	c.rest = rest
	var req api.Request
	if err == nil {
		req, err = api.DecodeRequest(line)
	}
	if err != nil {
		c.refuse(&refusal{api.CodeBadRequest, err})
		return
	}
	if err := h.perform(ctx, c, req); err != nil {
		c.refuse(err)
	}
}

// perform dispatches. An error is what the requester is refused with; an
// operation that has answered returns nil.
func (h *host) perform(ctx context.Context, c *requester, req api.Request) error {
	if req.Op == api.OpKill {
		h.beginKill()
		return ignore(c.send(api.Answer{OK: true}))
	}
	if err := h.awaitVM(ctx, c); err != nil {
		return err
	}
	if req.Op == api.OpWait {
		return h.stream(func() error { return h.wait(ctx, c, req.After) })
	}
	select {
	case <-h.over:
		return hv.ErrGone
	default:
	}
	switch req.Op {
	case api.OpHello:
		return ignore(c.send(api.Answer{OK: true, Hello: h.hello()}))
	case api.OpDial:
		return h.stream(func() error { return h.dial(ctx, c, req) })
	case api.OpBridge:
		return h.stream(func() error { return h.bridge(ctx, c, req) })
	case api.OpPowerButton:
		return h.stream(func() error { return h.short(ctx, c, h.vm.PowerButton) })
	case api.OpAllowReboot:
		if r, ok := h.vm.(hv.Rebooter); ok {
			return h.stream(func() error { return h.short(ctx, c, r.AllowReboot) })
		}
	case api.OpPause, api.OpResume:
		if p, ok := h.vm.(hv.Pauser); ok {
			if req.Op == api.OpPause && h.ending.Err() != nil {
				return errors.New("the VM is asked to end: it is not held still")
			}
			turn := map[api.Op]func(context.Context) error{api.OpPause: p.Pause, api.OpResume: p.Resume}[req.Op]
			return h.stream(func() error { return h.short(ctx, c, turn) })
		}
	case api.OpSave:
		if s, ok := h.vm.(hv.Saver); ok {
			return h.stream(func() error { return h.save(ctx, c, s) })
		}
	case api.OpGrow:
		if g, ok := h.vm.(hv.Grower); ok {
			grow := func(ctx context.Context) error { return g.GrowDisk(ctx, req.Disk, req.Size) }
			return h.stream(func() error { return h.short(ctx, c, grow) })
		}
	}
	return &refusal{api.CodeUnsupported, fmt.Errorf("operation %q is not known to this VM host", req.Op)}
}

// ignore is for answers: a requester that is gone needs none.
func ignore(error) error { return nil }

// awaitVM waits for the driver's start, as long as the requester does.
func (h *host) awaitVM(ctx context.Context, c *requester) error {
	select {
	case <-h.up:
	default:
		err := h.stream(func() error {
			return c.whileHere(ctx, func(ctx context.Context) error {
				select {
				case <-h.up:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		if err != nil {
			return err
		}
	}
	if h.failed != nil {
		return fmt.Errorf("%w: it did not start: %w", hv.ErrGone, h.failed)
	}
	return nil
}

// stream runs an operation that lasts, if there is room for one more.
func (h *host) stream(f func() error) error {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
		return f()
	default:
		return fmt.Errorf("%d connections are open: no more", maxStreams)
	}
}

func (h *host) short(ctx context.Context, c *requester, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	if err := f(ctx); err != nil {
		return err
	}
	return ignore(c.send(api.Answer{OK: true}))
}

// save has the guest written to its file, as long as the requester waits for it: where
// nobody does, or the VM host is asked to end, the guest goes on.
func (h *host) save(ctx context.Context, c *requester, s hv.Saver) error {
	ctx, cancel := context.WithTimeout(ctx, api.SaveTime)
	defer cancel()
	defer context.AfterFunc(h.ending, cancel)()
	if h.ending.Err() != nil {
		return errors.New("the VM is asked to end: its guest is not saved")
	}
	err := c.whileHere(ctx, func(ctx context.Context) error {
		return s.Save(ctx, filepath.Join(h.spec.Dir, api.SavedFile))
	})
	switch {
	case err != nil && h.ending.Err() != nil:
		return fmt.Errorf("the VM is asked to end: its guest is not saved: %w", err)
	case err != nil:
		return err
	}
	return ignore(c.send(api.Answer{OK: true}))
}

func (h *host) hello() *api.Hello {
	ops := []api.Op{api.OpBridge}
	if _, ok := h.vm.(hv.Rebooter); ok {
		ops = append(ops, api.OpAllowReboot)
	}
	if _, ok := h.vm.(hv.Grower); ok {
		ops = append(ops, api.OpGrow)
	}
	if _, ok := h.vm.(hv.Pauser); ok {
		ops = append(ops, api.OpPause, api.OpResume)
	}
	if _, ok := h.vm.(hv.Saver); ok {
		ops = append(ops, api.OpSave)
	}
	accel, note, board := h.spec.Accel, h.spec.AccelNote, h.spec.Board
	if vm, ok := h.vm.(hv.Accelerated); ok {
		accel, note = vm.Accel()
		board = vm.Board()
	}
	var shares []hv.ShareState
	if vm, ok := h.vm.(hv.Sharer); ok {
		for _, s := range vm.Shares() {
			shares = append(shares, hv.ShareState{Tag: s.Tag, Error: api.Clip(s.Error)})
		}
	}
	return &api.Hello{
		Machine: h.spec.Machine, Launch: h.spec.Launch, CID: h.spec.CID,
		Backend: h.spec.Backend, Accel: accel, Note: api.Clip(note), Board: board,
		Version: h.cfg.Version, Started: h.begun, Ops: ops,
		Can: h.driver.Capabilities(), Events: h.events.seq(), Shares: shares,
	}
}

// wait tells the requester what the VM says, to its end.
func (h *host) wait(ctx context.Context, c *requester, after uint64) error {
	if c.send(api.Answer{OK: true}) != nil {
		return nil
	}
	return ignore(c.whileHere(ctx, func(ctx context.Context) error {
		for {
			events, more := h.events.after(after)
			for _, e := range events {
				if err := c.send(e); err != nil || e.Kind == hv.EventExit {
					return err
				}
				after = e.Seq
			}
			select {
			case <-more:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}))
}
