package network

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	leaseTime      = 24 * time.Hour
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// answerDHCP gives a guest the one address that it may have.
func (n *Network) answerDHCP(from *member, is Machine, f *frame, p packet) {
	defer f.free()
	if p.later || len(p.payload) < header.UDPMinimumSize {
		return
	}
	asked, err := dhcpv4.FromBytes(p.payload[header.UDPMinimumSize:])
	if err != nil || asked.OpCode != dhcpv4.OpcodeBootRequest {
		return
	}
	reply := dhcpReply(asked, is)
	if reply == nil {
		return
	}
	body := reply.ToBytes()
	dst := is.Addr
	if p.from.IsUnspecified() || asked.IsBroadcast() {
		dst = broadcast
	}
	from.deliver(n.datagram(is, lease.Gateway, dst, udpProto, header.UDPMinimumSize+len(body), func(b []byte) {
		header.UDP(b).Encode(&header.UDPFields{SrcPort: dhcpServerPort, DstPort: dhcpClientPort, Length: uint16(len(b))}) // no checksum
		copy(b[header.UDPMinimumSize:], body)
	}))
}

// dhcpReply is the answer to a client, nil where there is none.
func dhcpReply(asked *dhcpv4.DHCPv4, is Machine) *dhcpv4.DHCPv4 {
	reply, err := dhcpv4.NewReplyFromRequest(asked)
	if err != nil {
		return nil
	}
	gateway := net.IP(lease.Gateway.AsSlice())
	reply.ServerIPAddr = gateway
	reply.UpdateOption(dhcpv4.OptServerIdentifier(gateway))
	switch asked.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
	case dhcpv4.MessageTypeRequest:
		want := asked.RequestedIPAddress()
		if want == nil {
			want = asked.ClientIPAddr
		}
		if server := asked.ServerIdentifier(); server != nil && !server.Equal(gateway) {
			return nil // it chose another
		}
		if !want.Equal(is.Addr.AsSlice()) {
			reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
			return reply
		}
		reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))
	case dhcpv4.MessageTypeInform:
		reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))
	default:
		return nil
	}
	reply.YourIPAddr = is.Addr.AsSlice()
	for _, o := range []dhcpv4.Option{
		dhcpv4.OptIPAddressLeaseTime(leaseTime),
		dhcpv4.OptSubnetMask(net.CIDRMask(lease.Subnet.Bits(), 32)),
		dhcpv4.OptRouter(gateway),
		dhcpv4.OptDNS(gateway),
		dhcpv4.OptDomainName(Zone),
		dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{Zone}}),
		dhcpv4.OptHostName(is.Name),
		{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(MTU)},
	} {
		reply.UpdateOption(o)
	}
	return reply
}
