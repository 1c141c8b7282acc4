package network

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

const patience = 20 * time.Second

func newNetwork(t *testing.T, o Options) *Network {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func policy(t *testing.T, text string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// machine is one that a test's network has.
func machine(t *testing.T, name string, egress string) Machine {
	t.Helper()
	mac, err := net.ParseMAC(lease.MAC(name))
	if err != nil {
		t.Fatal(err)
	}
	a, err := lease.NewPool().Take(name)
	if err != nil {
		t.Fatal(err)
	}
	return Machine{ID: name, Name: name, MAC: mac, Addr: a, Egress: policy(t, egress)}
}

func set(t *testing.T, n *Network, m Machine) {
	t.Helper()
	if err := n.Set(m); err != nil {
		t.Fatal(err)
	}
}

// wire is a stream such as QEMU's: ours and the network's end.
func wire(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "wire")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	t.Cleanup(func() { _ = ends[0].Close() })
	return ends[0], ends[1]
}

// plug is the guest's end of a wire.
type plug struct {
	net.Conn
	ended chan struct{} // the network has let go of its end
}

// plugIn connects a machine.
func plugIn(t *testing.T, n *Network, m Machine) plug {
	t.Helper()
	here, there := wire(t)
	p := plug{here, make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = n.Carry(t.Context(), m.ID, there)
	}()
	t.Cleanup(func() {
		_ = here.Close()
		<-p.ended
	})
	sendFrame(t, here, arpRequest(m, m.Addr, lease.Gateway))
	nextFrame(t, here) // the link is there
	return p
}

// await waits for one who tells, or who gives a place.
func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
	}
}

// guest is a machine's inside: another stack.
type guest struct {
	Machine
	stack *stack.Stack
	wire  net.Conn
}

func newGuest(t *testing.T, n *Network, name, egress string) *guest {
	t.Helper()
	m := machine(t, name, egress)
	set(t, n, m)
	g := &guest{Machine: m, wire: plugIn(t, n, m)}
	link := channel.New(1024, header.EthernetMinimumSize+MTU, tcpip.LinkAddress(m.MAC))
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := g.stack.CreateNIC(nic, ethernet.New(link)); err != nil {
		t.Fatal(err)
	}
	address := tcpip.AddressWithPrefix{Address: theirs(m.Addr), PrefixLen: lease.Subnet.Bits()}
	if err := g.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: address.Subnet(), NIC: nic},
		{Destination: header.IPv4EmptySubnet, Gateway: theirs(lease.Gateway), NIC: nic},
	})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		g.stack.Destroy()
	})
	go func() {
		for {
			p := link.ReadContext(ctx)
			if p == nil {
				return
			}
			b := p.ToView().AsSlice()
			_, _ = g.wire.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
			p.DecRef()
		}
	}()
	go func() {
		for {
			b, err := readFrame(g.wire)
			if err != nil {
				return
			}
			link.InjectInbound(0, stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)}))
		}
	}()
	return g
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func (g *guest) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return gonet.DialContextTCP(ctx, g.stack, tcpip.FullAddress{NIC: nic, Addr: theirs(to.Addr()), Port: to.Port()}, ipv4.ProtocolNumber)
}

func (g *guest) listen(t *testing.T, port uint16) net.Listener {
	t.Helper()
	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{NIC: nic, Addr: theirs(g.Addr), Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (g *guest) udp(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := gonet.DialUDP(g.stack, nil, &tcpip.FullAddress{NIC: nic, Addr: theirs(to.Addr()), Port: to.Port()}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// echo answers each connection with what it says, until its end.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
		}()
	}
}

// says sends through c, half-closes, and gives all that comes back.
func says(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	back, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(back), err)
	}
	return string(back)
}
