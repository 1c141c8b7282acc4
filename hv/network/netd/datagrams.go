package netd

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network"
)

// Bounds of a UDP forward.
const (
	peerIdle    = time.Minute
	maxDatagram = 65507
)

// peers are who talks to a UDP forward: one exchange with the guest for each.
type peers struct {
	mu    sync.Mutex
	all   map[netip.AddrPort]net.Conn
	talks network.Talks
}

// serveUDP carries datagrams to the guest, and its answers back.
func (f *forward) serveUDP() error {
	port, err := strconv.ParseUint(f.To, 10, 16)
	if err != nil {
		return err
	}
	at, err := net.ResolveUDPAddr("udp", f.Listen)
	if err != nil {
		return err
	}
	u, err := net.ListenUDP("udp", at)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = u.Close() })
	defer stop()
	defer func() { _ = u.Close() }()
	f.found(nil)
	p := &peers{all: map[netip.AddrPort]net.Conn{}}
	buf := make([]byte, maxDatagram)
	for {
		k, from, err := u.ReadFromUDPAddrPort(buf)
		if f.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		g := p.find(from, func() (net.Conn, error) { return f.a.d.net.DialUDP(f.a.id, uint16(port)) }, func(g net.Conn) {
			answerTo(ctx, u, from, g)
		})
		if g != nil {
			_ = g.SetReadDeadline(time.Now().Add(peerIdle))
			network.SendDatagram(g, buf[:k])
		}
	}
}

// find is the exchange of a peer, a new one where there is none; nil where none
// can be had.
func (p *peers) find(from netip.AddrPort, dial func() (net.Conn, error), serve func(net.Conn)) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.all[from]; g != nil {
		return g
	}
	g, err := dial()
	if err != nil {
		return nil
	}
	p.all[from] = g
	leave := p.talks.Enter(func() { _ = g.Close() })
	go func() {
		serve(g)
		leave()
		p.mu.Lock()
		delete(p.all, from)
		p.mu.Unlock()
	}()
	return g
}

// answerTo carries the guest's answers to a peer until none has come for a
// while. It closes g.
func answerTo(ctx context.Context, u *net.UDPConn, to netip.AddrPort, g net.Conn) {
	defer func() { _ = g.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = g.Close() })
	defer stop()
	buf := make([]byte, maxDatagram)
	for {
		_ = g.SetReadDeadline(time.Now().Add(peerIdle))
		k, err := g.Read(buf)
		if err != nil {
			return
		}
		_, _ = u.WriteToUDPAddrPort(buf[:k], to)
	}
}
