package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// Bounds of exchanges of datagrams.
const (
	maxTalks    = 256 // of one machine with the outside, of one forward with the host
	talkIdle    = 60 * time.Second
	maxDatagram = 65507
	roomWait    = 100 * time.Millisecond
)

// Talks are exchanges of datagrams. Where there are too many, the oldest ends. The
// zero value is empty.
type Talks struct {
	mu   sync.Mutex
	last uint64
	ends map[uint64]func() // by age
}

// Enter adds a talk that end ends. leave takes it out again.
func (t *Talks) Enter(end func()) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ends) >= maxTalks {
		oldest := t.last
		for seq := range t.ends {
			oldest = min(oldest, seq)
		}
		t.ends[oldest]()
		delete(t.ends, oldest)
	}
	if t.ends == nil {
		t.ends = map[uint64]func(){}
	}
	t.last++
	seq := t.last
	t.ends[seq] = end
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.ends, seq)
	}
}

func (t *Talks) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ends)
}

// udpForwarder begins an exchange with the outside for each that a guest
// begins. It is called on the way of the packet, and must not wait.
func (n *Network) udpForwarder() *udp.Forwarder {
	return udp.NewForwarder(n.stack, func(r *udp.ForwarderRequest) {
		id := r.ID()
		to := netip.AddrPortFrom(ours(id.LocalAddress), id.LocalPort)
		m := n.byAddr(ours(id.RemoteAddress))
		if m == nil || to.Addr() == lease.Gateway {
			return
		}
		open := m.opened() // before the policy is looked at: a change of it ends this
		if !m.is().Egress.Allows(to.Addr(), to.Port()) {
			m.deny(Denial{Protocol: "udp", To: to})
			return
		}
		var wq waiter.Queue
		ep, err := r.CreateEndpoint(&wq)
		if err != nil {
			return
		}
		guest := gonet.NewUDPConn(&wq, ep)
		life, end := context.WithCancel(open)
		leave := m.talks.Enter(end)
		go func() {
			defer leave()
			defer end()
			out, err := n.dial(life, "udp", to)
			if err != nil {
				_ = guest.Close()
				return
			}
			exchange(life, guest, out)
		}()
	})
}

// SendDatagram sends one, which may be lost. It waits for room only for a moment:
// gonet can miss that there is some again, and would wait without end.
func SendDatagram(c net.Conn, b []byte) {
	_ = c.SetWriteDeadline(time.Now().Add(roomWait))
	_, _ = c.Write(b)
}

// exchange carries datagrams both ways until none has come for a while, or ctx
// is over. It closes both.
func exchange(ctx context.Context, a, b net.Conn) {
	shut, stop := together(ctx, a, b)
	defer stop()
	quiet := time.AfterFunc(talkIdle, shut)
	defer quiet.Stop()
	var both sync.WaitGroup
	carry := func(to, from net.Conn) {
		defer shut()
		buf := make([]byte, maxDatagram)
		for {
			k, err := from.Read(buf)
			if err != nil {
				return
			}
			quiet.Reset(talkIdle)
			SendDatagram(to, buf[:k])
		}
	}
	both.Go(func() { carry(a, b) })
	both.Go(func() { carry(b, a) })
	both.Wait()
}

// DialUDP talks to a UDP port of a machine, from the gateway.
func (n *Network) DialUDP(id string, port uint16) (net.Conn, error) {
	n.mu.RLock()
	m := n.ids[id]
	n.mu.RUnlock()
	if m == nil {
		return nil, fmt.Errorf("network: machine %s does not belong to it", id)
	}
	from := tcpip.FullAddress{NIC: nic, Addr: theirs(lease.Gateway)}
	to := tcpip.FullAddress{NIC: nic, Addr: theirs(m.is().Addr), Port: port}
	c, err := gonet.DialUDP(n.stack, &from, &to, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("network: machine %s, UDP port %d: %w", id, port, err)
	}
	return c, nil
}
