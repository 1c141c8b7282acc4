package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// callTime bounds a call whose context has no deadline.
const callTime = 10 * time.Second

// busyPause is between two tries at a socket whose backlog is full.
const busyPause = 50 * time.Millisecond

// Host talks to the VM host of one place.
type Host struct{ place Place }

// Connect does no I/O: each call makes its own connection.
func Connect(p Place) *Host { return &Host{place: p} }

// Hello asks who answers.
func (h *Host) Hello(ctx context.Context) (api.Hello, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return h.hello(ctx)
}

func (h *Host) hello(ctx context.Context) (api.Hello, error) {
	c, err := h.call(ctx, api.Request{Op: api.OpHello}, nil)
	if err != nil {
		return api.Hello{}, err
	}
	defer func() { _ = c.Close() }()
	if c.answer.Hello == nil {
		return api.Hello{}, errors.New("vm host: hello: the answer says nothing")
	}
	return *c.answer.Hello, nil
}

// PowerButton asks the guest to shut down.
func (h *Host) PowerButton(ctx context.Context) error { return h.do(ctx, api.OpPowerButton) }

// Kill has the VM killed; Wait says when it is gone. A VM host that has more
// callers than it bears may end a connection without a word: then it is asked
// again.
func (h *Host) Kill(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		err := h.do(ctx, api.OpKill)
		if !cutOff(err) || pause(ctx, busyPause) != nil {
			return err
		}
	}
}

// cutOff tells whether somebody took the connection, and ended it.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

// AllowReboot makes a reset of the guest a reboot, where before it was the end.
func (h *Host) AllowReboot(ctx context.Context) error { return h.do(ctx, api.OpAllowReboot) }

// Pause holds the guest still, and Resume lets it go on. A VM host that can't is
// hv.ErrUnsupported.
func (h *Host) Pause(ctx context.Context) error { return h.do(ctx, api.OpPause) }

// Resume is Pause's opposite.
func (h *Host) Resume(ctx context.Context) error { return h.do(ctx, api.OpResume) }

// Save has the guest written to api.SavedFile in the machine's directory; the VM ends
// behind it. Where ctx is over first the guest goes on, unless it was written just then:
// how the VM ends tells. A VM host that can't is hv.ErrUnsupported.
func (h *Host) Save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, api.SaveTime)
	defer cancel()
	return h.do(ctx, api.OpSave)
}

// GrowDisk makes the disk with that serial at least as large as size, in bytes. A
// VM host that can't is hv.ErrUnsupported.
func (h *Host) GrowDisk(ctx context.Context, serial string, size int64) error {
	return h.request(ctx, api.Request{Op: api.OpGrow, Disk: serial, Size: size})
}

func (h *Host) do(ctx context.Context, op api.Op) error { return h.request(ctx, api.Request{Op: op}) }

func (h *Host) request(ctx context.Context, req api.Request) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := h.call(ctx, req, nil)
	if err != nil {
		return err
	}
	return c.Close()
}

// Dial connects to a port of the guest. The connection has deadlines and
// CloseWrite, and does not end with ctx.
func (h *Host) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := h.call(ctx, api.Request{Op: api.OpDial, Port: port, Timeout: timeout(ctx)}, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Bridge has the VM host join f, a connected stream socket, to a port of the
// guest. The VM host gets a copy of the descriptor; f stays the caller's, who
// closes it.
func (h *Host) Bridge(ctx context.Context, port uint32, f *os.File) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := h.call(ctx, api.Request{Op: api.OpBridge, Port: port, Timeout: timeout(ctx)}, f)
	if err != nil {
		return err
	}
	return c.Close()
}

// Wait passes on what the VM says with a seq above after. It returns nil after
// the exit event, and an error if the connection broke before it.
func (h *Host) Wait(ctx context.Context, after uint64, each func(api.Event)) error {
	c, err := h.call(ctx, api.Request{Op: api.OpWait, After: after}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		line, rest, err := api.ReadLine(c)
		if err != nil {
			return errors.Join(fmt.Errorf("%w: wait: %w", ErrGone, err), ctx.Err())
		}
		c.rest = rest
		e, err := api.DecodeEvent(line)
		if err != nil {
			return fmt.Errorf("vm host: wait: %w", err)
		}
		each(e)
		if e.Kind == hv.EventExit {
			return nil
		}
	}
}

// conn is a connection that was answered, with what came after the answer.
type conn struct {
	*net.UnixConn
	rest   []byte
	answer api.Answer
}

// Read hands out first what was read early.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.UnixConn.Read(p)
}

// call makes one request, with f's descriptor if there is one, and reads its
// answer. The connection is returned only for an ok.
func (h *Host) call(ctx context.Context, req api.Request, f *os.File) (*conn, error) {
	u, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = u.SetDeadline(time.Unix(1, 0)) })
	c, err := exchange(u, req, f)
	if !stop() && err == nil { // the deadline is set, or is about to be
		err = os.ErrDeadlineExceeded
	}
	if err == nil {
		err = refusal(c.answer)
	}
	if err == nil {
		return c, nil
	}
	_ = u.Close()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil && (req.Op == api.OpDial || req.Op == api.OpBridge):
		// The VM host answers when the guest has: who of them is silent can't be told.
		return nil, fmt.Errorf("port %d of the guest does not answer: %w", req.Port, context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil && req.Op == api.OpSave: // likewise
		return nil, fmt.Errorf("the guest is not written yet: %w", context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrMute, req.Op, context.Cause(ctx))
	case cutOff(err):
		return nil, fmt.Errorf("%w: %s: %w", ErrGone, req.Op, err)
	}
	return nil, fmt.Errorf("%s: %w", req.Op, err)
}

// connect waits while the backlog is full: somebody listens, and is slow.
func (h *Host) connect(ctx context.Context) (*net.UnixConn, error) {
	path, err := api.SocketPath(h.place.RunDir)
	if err != nil {
		return nil, err
	}
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return c.(*net.UnixConn), nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
			return nil, fmt.Errorf("%w: %w", ErrGone, err)
		case errors.Is(err, unix.EAGAIN):
			if pause(ctx, busyPause) == nil {
				continue
			}
			return nil, fmt.Errorf("%w: its backlog is full: %w", ErrMute, ctx.Err())
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", ErrMute, ctx.Err())
		}
		return nil, fmt.Errorf("vm host: %w", err)
	}
}

func exchange(u *net.UnixConn, req api.Request, f *os.File) (*conn, error) {
	line, err := api.Encode(req)
	if err != nil {
		return nil, err
	}
	if f == nil {
		_, err = u.Write(line)
	} else {
		err = sendWith(u, line, f)
	}
	if err != nil {
		return nil, err
	}
	reply, rest, err := api.ReadLine(u)
	if err != nil {
		return nil, err
	}
	answer, err := api.DecodeAnswer(reply)
	return &conn{UnixConn: u, rest: rest, answer: answer}, err
}

// sendWith sends the line with f's descriptor, without Fd(), which would make
// f's file block.
func sendWith(u *net.UnixConn, line []byte, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var sendErr error
	if err := raw.Control(func(fd uintptr) {
		n, _, sendErr = u.WriteMsgUnix(line, unix.UnixRights(int(fd)), nil)
	}); err != nil {
		return err
	}
	if sendErr == nil && n < len(line) {
		_, sendErr = u.Write(line[n:])
	}
	return sendErr
}

// refusal turns an answer into an error.
func refusal(a api.Answer) error {
	if a.OK {
		return nil
	}
	text := api.Clip(a.Error)
	switch a.Code {
	case api.CodeRefused:
		return fmt.Errorf("%w: %s", ErrRefused, text)
	case api.CodeGone:
		return fmt.Errorf("%w: %s", ErrGone, text)
	case api.CodeUnsupported:
		return fmt.Errorf("%w: %s", hv.ErrUnsupported, text)
	case api.CodeTimeout:
		return fmt.Errorf("vm host: %s: %w", text, context.DeadlineExceeded)
	}
	return fmt.Errorf("vm host: %s: %s", a.Code, text)
}

// bounded gives a context a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTime)
}

// timeout is the time left in milliseconds, a little less, so that the VM
// host's own answer still arrives.
func timeout(ctx context.Context) int64 {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline).Milliseconds()
	return min(max(left-left/16, 1), api.MaxTimeout)
}

// Plain is a connection of Dial without its wrapping, where nothing was read
// early: between two sockets the kernel can carry bytes by itself.
func Plain(c net.Conn) net.Conn {
	if w, ok := c.(*conn); ok && len(w.rest) == 0 {
		return w.UnixConn
	}
	return c
}
