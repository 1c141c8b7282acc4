package vmhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// redialPause is how long a dial rests after the guest's kernel took the
// connection and nobody welcomed it.
const redialPause = 20 * time.Millisecond

// dial joins the requester to a port of the guest.
func (h *host) dial(ctx context.Context, c *requester, req api.Request) error {
	guest, err := h.reach(ctx, c, req)
	if err != nil {
		return err
	}
	if c.send(api.Answer{OK: true}) != nil {
		return ignore(guest.Close())
	}
	h.splice(c, guest, c.answered)
	return nil
}

// bridge joins the descriptor that came with the request to a port of the
// guest. It does not end with the requester.
func (h *host) bridge(ctx context.Context, c *requester, req api.Request) error {
	fd, ok := c.takeFD()
	if !ok {
		return &refusal{api.CodeBadRequest, errors.New("bridge: takes exactly one descriptor")}
	}
	far, err := streamConn(fd)
	if err != nil {
		return &refusal{api.CodeBadRequest, fmt.Errorf("bridge: %w", err)}
	}
	guest, err := h.reach(ctx, c, req)
	if err != nil {
		_ = far.Close()
		return err
	}
	_ = c.send(api.Answer{OK: true})
	c.shut()
	h.splice(far, guest, c.answered)
	return nil
}

// streamConn takes over a descriptor that must be a connected stream socket.
func streamConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "bridge")
	defer func() { _ = f.Close() }()
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, errors.New("the descriptor is not a stream socket")
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return nil, fmt.Errorf("the descriptor is not connected: %w", err)
	}
	return net.FileConn(f)
}

// reach connects to the guest within the request's time and as long as the
// requester waits for it.
func (h *host) reach(ctx context.Context, c *requester, req api.Request) (net.Conn, error) {
	limit := req.Timeout
	if limit == 0 {
		limit = api.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(limit)*time.Millisecond)
	defer cancel()
	var guest net.Conn
	err := c.whileHere(ctx, func(ctx context.Context) (err error) {
		if hv.TokenPort(req.Port) {
			guest, err = h.dialAgent(ctx, req.Port)
			return err
		}
		guest, err = h.vm.Dial(ctx, req.Port)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial guest port %d: %w", req.Port, err)
	}
	return guest, nil
}

// dialAgent dials until the agent has welcomed the token. The guest's kernel
// takes connections that the agent never sees (one that is just ending), so an
// end before the welcome is tried again.
func (h *host) dialAgent(ctx context.Context, port uint32) (net.Conn, error) {
	for {
		guest, err := h.vm.Dial(ctx, port)
		if err != nil {
			return nil, err
		}
		if err = welcome(ctx, guest, h.token); err == nil {
			return guest, nil
		}
		_ = guest.Close()
		switch {
		case ctx.Err() != nil:
			return nil, errors.Join(err, ctx.Err())
		case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(redialPause):
		}
	}
}

// welcome sends the preface and waits for the welcome until ctx is over.
func welcome(ctx context.Context, guest net.Conn, token []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = guest.SetDeadline(time.Unix(1, 0)) })
	err := wire.SendPreface(guest, token)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}

// splice carries bytes both ways, an end of one direction as a half-close,
// until both have ended or one has failed. It closes both. From here on, only
// what the guest says is owed to the other end.
func (h *host) splice(near, guest net.Conn, answered func()) {
	var both sync.WaitGroup
	carry := func(to, from net.Conn) {
		if h.pourer.pour(to, from) == nil {
			if half, ok := to.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				return
			}
		}
		_ = to.Close()
		_ = from.Close()
	}
	h.drain.enter()
	answered()
	both.Go(func() { carry(guest, near) })
	both.Go(func() {
		defer h.drain.leave()
		carry(near, guest)
	})
	both.Wait()
	_ = near.Close()
	_ = guest.Close()
}
