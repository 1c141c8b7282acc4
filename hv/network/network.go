package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// Zone is the domain of the machines' names.
const Zone = "arcbox.internal"

const nic = 1

// Machine is one that belongs to the network.
type Machine struct {
	ID     string
	Name   string // its name in Zone
	MAC    net.HardwareAddr
	Addr   netip.Addr
	Egress egress.Policy
}

// Options are what a network is made of. The zero value is usable.
type Options struct {
	Log *slog.Logger // nil = none
	// Servers are the name servers for what is no machine's name, as host:port;
	// nil = those of the host.
	Servers func() []string
	// Dial opens connections to the outside; nil = the host's own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DNSTime bounds a question to the name servers; 0 = 4 s.
	DNSTime time.Duration
	// Changed is told of a machine whose link comes or goes, or that was denied
	// something. It must not wait, and must not call back.
	Changed func(machine string)
}

// Network is one engine's. Its methods may be called from any goroutine.
type Network struct {
	opts    Options
	stack   *stack.Stack
	link    *tap.LinkEndpoint
	mac     [6]byte // the gateway's
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	asks    chan struct{} // one token a question to a name server

	mu     sync.RWMutex
	ids    map[string]*member
	macs   map[[6]byte]*member
	addrs  map[netip.Addr]*member
	names  map[string]*member
	closed bool
}

// New makes a network without machines.
func New(o Options) (*Network, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Servers == nil {
		o.Servers = (&resolvers{path: "/etc/resolv.conf"}).servers
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.DNSTime <= 0 {
		o.DNSTime = 4 * time.Second
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	n := &Network{
		opts: o, asks: make(chan struct{}, maxAsks),
		ids: map[string]*member{}, macs: map[[6]byte]*member{}, addrs: map[netip.Addr]*member{}, names: map[string]*member{},
	}
	n.life, n.end = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		n.end()
		return nil, err
	}
	return n, nil
}

// open builds the gateway.
func (n *Network) open() error {
	mac, err := net.ParseMAC(lease.GatewayMAC)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	n.mac = [6]byte(mac)
	n.link, err = tap.NewLinkEndpoint(false, MTU, lease.GatewayMAC, lease.Gateway.String(), nil)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	n.link.Connect(outlet{n})
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := n.stack.CreateNIC(nic, n.link); err != nil {
		return fmt.Errorf("network: %s", err)
	}
	for _, a := range []netip.Addr{lease.Gateway, lease.Host} {
		address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: theirs(a).WithPrefix()}
		if err := n.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("network: %s", err)
		}
	}
	// It answers for every address that there is, in that address's name.
	n.stack.SetSpoofing(nic, true)
	n.stack.SetPromiscuousMode(nic, true)
	subnet := tcpip.AddressWithPrefix{Address: theirs(lease.Subnet.Addr()), PrefixLen: lease.Subnet.Bits()}.Subnet()
	n.stack.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: nic}})
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate} {
		if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("network: %s", err)
		}
	}
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, n.tcpForwarder().HandlePacket)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, n.udpForwarder().HandlePacket)
	return n.serveDNS()
}

// ErrClosed is the answer of a network that was closed.
var ErrClosed = errors.New("network: closed")

// Set makes a machine belong to the network, or changes what is known of it.
// Its connection, if it has one, goes on.
func (n *Network) Set(m Machine) error {
	if len(m.MAC) != 6 || m.MAC[0]&1 != 0 {
		return fmt.Errorf("network: machine %s: MAC %q is no machine's", m.ID, m.MAC)
	}
	if !lease.Subnet.Contains(m.Addr) || m.Addr.Compare(lease.First) < 0 {
		return fmt.Errorf("network: machine %s: address %s is no machine's", m.ID, m.Addr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	for _, other := range []*member{n.macs[[6]byte(m.MAC)], n.addrs[m.Addr]} {
		if other != nil && other.is().ID != m.ID {
			return fmt.Errorf("network: machine %s: %s or %s is that of machine %s", m.ID, m.MAC, m.Addr, other.is().ID)
		}
	}
	mem := n.ids[m.ID]
	if mem == nil {
		mem = newMember(n.life, n.opts.Changed)
		n.ids[m.ID] = mem
	} else {
		n.leave(mem.is())
	}
	mem.become(m)
	n.macs[[6]byte(m.MAC)], n.addrs[m.Addr], n.names[nameKey(m.Name)] = mem, mem, mem
	if err := n.stack.AddStaticNeighbor(nic, ipv4.ProtocolNumber, theirs(m.Addr), tcpip.LinkAddress(m.MAC)); err != nil {
		return fmt.Errorf("network: machine %s: neighbor: %s", m.ID, err)
	}
	return nil
}

// leave takes a machine out of the tables. n.mu is held.
func (n *Network) leave(m Machine) {
	delete(n.macs, [6]byte(m.MAC))
	delete(n.addrs, m.Addr)
	if mem := n.names[nameKey(m.Name)]; mem != nil && mem.is().ID == m.ID {
		delete(n.names, nameKey(m.Name))
	}
	_ = n.stack.RemoveNeighbor(nic, ipv4.ProtocolNumber, theirs(m.Addr)) // there may be none
}

// Drop takes a machine off the network: its connection and all that it has
// open end.
func (n *Network) Drop(id string) {
	n.mu.Lock()
	mem := n.ids[id]
	if mem != nil {
		delete(n.ids, id)
		n.leave(mem.is())
	}
	n.mu.Unlock()
	if mem != nil {
		mem.gone()
	}
}

// Carry carries a machine's frames over c until the stream or ctx ends, or
// another takes its place. It closes c.
func (n *Network) Carry(ctx context.Context, id string, c net.Conn) error {
	n.mu.RLock()
	mem := n.ids[id]
	n.mu.RUnlock()
	p := newPort(c)
	defer p.close()
	if mem == nil {
		return fmt.Errorf("network: machine %s does not belong to it", id)
	}
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	stopToo := context.AfterFunc(n.life, p.close)
	defer stopToo()
	if !mem.plug(p) {
		return fmt.Errorf("network: machine %s has left it", id)
	}
	defer mem.unplug(p)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		p.write()
	}()
	err := p.read(func(f *frame) { n.take(mem, f) }, func() { mem.foreign.Add(1) })
	p.close()
	<-writing
	return err
}

// Stats are what a machine's port has seen.
func (n *Network) Stats(id string) (Stats, bool) {
	n.mu.RLock()
	mem := n.ids[id]
	n.mu.RUnlock()
	if mem == nil {
		return Stats{}, false
	}
	return mem.stats(), true
}

// Close ends all of it.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	all := n.ids
	n.ids = map[string]*member{}
	n.mu.Unlock()
	n.end()
	for _, mem := range all {
		mem.gone()
	}
	n.stack.Destroy()
	n.running.Wait()
}

func (n *Network) byAddr(a netip.Addr) *member {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.addrs[a]
}

func (n *Network) byMAC(mac [6]byte) *member {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.macs[mac]
}

// theirs and ours turn an address into gVisor's form and back.
func theirs(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

func ours(a tcpip.Address) netip.Addr {
	if a.Len() != 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4(a.As4())
}
