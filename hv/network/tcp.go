package network

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// Bounds of connections to the outside.
const (
	maxConns  = 4096  // of one machine
	maxHalf   = 16384 // of all, that have not been answered yet
	dialTime  = 20 * time.Second
	keepIdle  = 2 * time.Minute // of a connection's guest side, before it is probed
	keepEvery = 30 * time.Second
)

// tcpForwarder opens to the outside what guests open to it.
func (n *Network) tcpForwarder() *tcp.Forwarder {
	return tcp.NewForwarder(n.stack, 0, maxHalf, func(r *tcp.ForwarderRequest) {
		id := r.ID()
		to := netip.AddrPortFrom(ours(id.LocalAddress), id.LocalPort)
		m := n.byAddr(ours(id.RemoteAddress))
		if m == nil || to.Addr() == lease.Gateway { // nothing else listens there
			r.Complete(true)
			return
		}
		life := m.opened() // before the policy is looked at: a change of it ends this
		if !m.is().Egress.Allows(to.Addr(), to.Port()) {
			m.deny(Denial{Protocol: "tcp", To: to})
			r.Complete(true)
			return
		}
		select {
		case m.conns <- struct{}{}:
			defer func() { <-m.conns }()
			n.openTCP(life, r, to)
		default:
			r.Complete(true)
		}
	})
}

// openTCP answers the guest once the outside has answered, so that what is
// refused there is refused here. It returns when the connection has ended.
func (n *Network) openTCP(life context.Context, r *tcp.ForwarderRequest, to netip.AddrPort) {
	out, err := n.dial(life, "tcp", to)
	if err != nil {
		n.opts.Log.Debug("dial", "to", to, "err", err)
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil { // the guest has given up meanwhile
		r.Complete(true)
		_ = out.Close()
		return
	}
	r.Complete(false)
	idle, every := tcpip.KeepaliveIdleOption(keepIdle), tcpip.KeepaliveIntervalOption(keepEvery)
	_ = ep.SetSockOpt(&idle)
	_ = ep.SetSockOpt(&every)
	ep.SocketOptions().SetKeepAlive(true)
	Join(life, gonet.NewTCPConn(&wq, ep), out)
}

// dial opens a connection to the outside. The host's loopback is behind an
// address of its own.
func (n *Network) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	host := to.Addr().String()
	if to.Addr() == lease.Host {
		host = "127.0.0.1"
	}
	return n.opts.Dial(ctx, network, net.JoinHostPort(host, strconv.Itoa(int(to.Port()))))
}
