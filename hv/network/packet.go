package network

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	icmpProto = uint8(header.ICMPv4ProtocolNumber)
	tcpProto  = uint8(header.TCPProtocolNumber)
	udpProto  = uint8(header.UDPProtocolNumber)
)

// packet is what the switch needs to know of an IPv4 packet.
type packet struct {
	from, to         netip.Addr
	proto            uint8
	fromPort, toPort uint16 // of an echo: its id, twice; 0 where there are none
	later            bool   // a fragment without ports
	payload          []byte // behind the IPv4 header
}

// parsePacket refuses what is no whole IPv4 packet. Every length is checked.
func parsePacket(b []byte) (p packet, ok bool) {
	ip := header.IPv4(b)
	if !ip.IsValid(len(b)) {
		return p, false
	}
	from, to := ip.SourceAddress(), ip.DestinationAddress()
	p = packet{
		from: netip.AddrFrom4(from.As4()), to: netip.AddrFrom4(to.As4()), proto: ip.Protocol(),
		later: ip.FragmentOffset() != 0, payload: b[ip.HeaderLength():ip.TotalLength()],
	}
	switch {
	case p.later:
	case (p.proto == tcpProto || p.proto == udpProto) && len(p.payload) >= 4:
		p.fromPort, p.toPort = binary.BigEndian.Uint16(p.payload), binary.BigEndian.Uint16(p.payload[2:])
	case p.proto == icmpProto && len(p.payload) >= header.ICMPv4MinimumSize:
		p.fromPort = header.ICMPv4(p.payload).Ident()
	}
	return p, true
}

// flow is who talks to whom.
func (p packet) flow() flow {
	f := flow{p.proto, netip.AddrPortFrom(p.from, p.fromPort), netip.AddrPortFrom(p.to, p.toPort)}
	if p.proto == icmpProto { // an echo and its answer have one id
		f.to = netip.AddrPortFrom(p.to, p.fromPort)
	}
	return f
}

func (p packet) protocol() string {
	switch p.proto {
	case tcpProto:
		return "tcp"
	case udpProto:
		return "udp"
	case icmpProto:
		return "icmp"
	}
	return "ip " + strconv.Itoa(int(p.proto))
}

// datagram makes a frame from the gateway with an IPv4 packet of one protocol.
// Its body is written by fill, which gets room for size bytes.
func (n *Network) datagram(to Machine, from, dst netip.Addr, proto uint8, size int, fill func([]byte)) *frame {
	f := newFrame(header.EthernetMinimumSize + header.IPv4MinimumSize + size)
	header.Ethernet(f.data()).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(n.mac[:]), DstAddr: tcpip.LinkAddress(to.MAC), Type: header.IPv4ProtocolNumber,
	})
	ip := header.IPv4(f.data()[header.EthernetMinimumSize:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + size), TTL: 64, Protocol: proto, SrcAddr: theirs(from), DstAddr: theirs(dst),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	fill(f.data()[header.EthernetMinimumSize+header.IPv4MinimumSize:])
	return f
}

// prohibited tells a guest that it may not send what is in f (RFC 1812): a
// connection fails at once instead of waiting for an answer.
func (n *Network) prohibited(to Machine, f *frame, p packet) *frame {
	const code = 13 // communication administratively prohibited
	quote := f.data()[header.EthernetMinimumSize:]
	quote = quote[:min(len(quote), header.IPv4MaximumHeaderSize+8)]
	return n.datagram(to, p.to, to.Addr, icmpProto, header.ICMPv4MinimumSize+len(quote), func(b []byte) {
		icmp := header.ICMPv4(b)
		clear(b[:header.ICMPv4MinimumSize])
		icmp.SetType(header.ICMPv4DstUnreachable)
		icmp.SetCode(code)
		copy(b[header.ICMPv4MinimumSize:], quote)
		icmp.SetChecksum(^checksum.Checksum(b, 0))
	})
}
