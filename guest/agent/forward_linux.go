package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of forwards.
const (
	maxForwards = 2048 // of all
	forwardTime = 5 * time.Second
	firstBuffer = 4 << 10 // of one direction; what fills it gets a larger one
	largeBuffer = 128 << 10
)

// forward connects the host with a socket of the guest (wire.AskForward). It
// returns when both have ended.
func (a *Agent) forward(c net.Conn) {
	defer a.guard("forward")
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(prefaceTime)); err != nil {
		return
	}
	var word [len(wire.Forward)]byte
	if _, err := io.ReadFull(c, word[:]); err != nil {
		return
	}
	protocol, to, err := wire.ReadForward(c)
	if err != nil {
		return
	}
	if counted, ok := c.(*countedConn); ok {
		counted.leave() // from here on they have a bound of their own
	}
	select {
	case a.forwards <- struct{}{}:
		defer func() { <-a.forwards }()
	default:
		_ = wire.AnswerForward(c, errTooMany)
		return
	}
	near, err := dialForward(protocol, to)
	if wire.AnswerForward(c, err) != nil || err != nil {
		return
	}
	defer near.Close()
	if c.SetDeadline(time.Time{}) == nil {
		join(c, near)
	}
}

// dialForward connects to a place in this guest.
func dialForward(protocol, to string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), forwardTime)
	defer cancel()
	var d net.Dialer
	switch protocol {
	case "tcp":
		if at, err := netip.ParseAddrPort(to); err == nil && at.Port() != 0 {
			return d.DialContext(ctx, "tcp", at.String())
		}
		if n, err := strconv.ParseUint(to, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("port %.20q: 1 to 65535", to)
		}
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", to))
		if err == nil {
			return c, nil
		}
		other, otherErr := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", to))
		if otherErr == nil {
			return other, nil
		}
		return nil, err
	case "unix":
		if !path.IsAbs(to) {
			return nil, fmt.Errorf("path %.80q: an absolute one", to)
		}
		return d.DialContext(ctx, "unix", to)
	}
	return nil, errors.New("protocol: tcp or unix")
}

// join carries bytes both ways, the end of one direction as a half-close, until
// both have ended or one has failed.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	carry := func(to, from net.Conn) {
		buf := make([]byte, firstBuffer)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				if _, werr := to.Write(buf[:n]); werr != nil {
					_ = from.Close()
					break
				}
			}
			if err != nil {
				break
			}
			if n == len(buf) && n < largeBuffer {
				buf = make([]byte, min(4*n, largeBuffer))
			}
		}
		if half, ok := to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
			_ = to.Close()
			_ = from.Close()
		}
	}
	both.Go(func() { carry(a, b) })
	both.Go(func() { carry(b, a) })
	both.Wait()
}
