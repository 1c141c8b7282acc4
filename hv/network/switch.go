package network

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// take decides about a frame from a machine's guest. It frees it, or hands it on.
func (n *Network) take(from *member, f *frame) {
	eth := header.Ethernet(f.data())
	is := from.is()
	from.sent.Add(uint64(len(eth)))
	if [6]byte([]byte(eth.SourceAddress())) != [6]byte(is.MAC) {
		from.foreign.Add(1)
		f.free()
		return
	}
	switch eth.Type() {
	case header.ARPProtocolNumber:
		n.answerARP(from, is, f)
	case header.IPv4ProtocolNumber:
		n.takeIP(from, is, f)
	default:
		f.free() // IPv6 and whatever else there may be
	}
}

// takeIP routes one packet: to another machine, to the gateway, nowhere.
func (n *Network) takeIP(from *member, is Machine, f *frame) {
	eth := header.Ethernet(f.data())
	p, ok := parsePacket(f.data()[header.EthernetMinimumSize:])
	switch {
	case !ok:
		f.free()
	case p.proto == udpProto && p.toPort == dhcpServerPort && (p.to == broadcast || p.to == lease.Gateway) && (p.from == is.Addr || p.from.IsUnspecified()):
		n.answerDHCP(from, is, f, p)
	case p.from != is.Addr:
		from.foreign.Add(1)
		f.free()
	case [6]byte([]byte(eth.DestinationAddress())) == n.mac:
		n.toGateway(f, p)
	default:
		n.toMachine(from, is, f, p)
	}
}

// toGateway gives a packet to the gateway's stack. Only what really is the
// gateway's answers to a ping.
func (n *Network) toGateway(f *frame, p packet) {
	defer f.free()
	own := p.to == lease.Gateway || p.to == lease.Host
	switch {
	case p.proto == icmpProto && !own,
		!own && (lease.Subnet.Contains(p.to) || !p.to.IsGlobalUnicast() && !p.to.IsLinkLocalUnicast()):
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f.data()[header.EthernetMinimumSize:])})
	n.link.DeliverNetworkPacket(header.IPv4ProtocolNumber, pkt)
	pkt.DecRef()
}

// toMachine gives a packet to another machine, if its sender may begin that or
// was asked.
func (n *Network) toMachine(from *member, is Machine, f *frame, p packet) {
	to := n.byMAC([6]byte([]byte(header.Ethernet(f.data()).DestinationAddress())))
	if to == nil || to == from || to.is().Addr != p.to {
		f.free()
		return
	}
	if !is.Egress.Open() && !from.flows.known(p.flow()) {
		if p.later || !is.Egress.Allows(p.to, p.toPort) {
			from.deny(Denial{Protocol: p.protocol(), To: netip.AddrPortFrom(p.to, p.toPort)})
			from.deliver(n.prohibited(is, f, p))
			f.free()
			return
		}
	}
	if !to.is().Egress.Open() {
		to.flows.note(p.flow().back())
	}
	to.deliver(f)
}

// outlet is where the gateway's packets come out.
type outlet struct{ n *Network }

// DeliverNetworkPacket implements tap.NetworkSwitch.
func (o outlet) DeliverNetworkPacket(proto tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	if proto != header.IPv4ProtocolNumber || pkt.Size() > maxFrame || pkt.Size() < header.EthernetMinimumSize {
		return // ARP: every neighbour is known
	}
	f := newFrame(pkt.Size())
	at := f.data()
	for _, part := range pkt.AsSlices() {
		at = at[copy(at, part):]
	}
	to := o.n.byMAC([6]byte([]byte(header.Ethernet(f.data()).DestinationAddress())))
	if to == nil {
		f.free()
		return
	}
	to.deliver(f)
}
