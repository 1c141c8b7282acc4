package network

import (
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// answerARP answers a question for an address that somebody has. A probe for the
// guest's own address gets none: nobody else has it.
func (n *Network) answerARP(from *member, is Machine, f *frame) {
	defer f.free()
	asked := header.ARP(f.data()[header.EthernetMinimumSize:])
	if !asked.IsValid() || asked.Op() != header.ARPRequest {
		return
	}
	sender, _ := netip.AddrFromSlice(asked.ProtocolAddressSender())
	target, _ := netip.AddrFromSlice(asked.ProtocolAddressTarget())
	if sender != is.Addr && !sender.IsUnspecified() {
		from.foreign.Add(1)
		return
	}
	mac := n.owner(target)
	if mac == nil || target == is.Addr {
		return
	}
	reply := newFrame(header.EthernetMinimumSize + header.ARPSize)
	header.Ethernet(reply.data()).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(mac), DstAddr: tcpip.LinkAddress(is.MAC), Type: header.ARPProtocolNumber,
	})
	answer := header.ARP(reply.data()[header.EthernetMinimumSize:])
	answer.SetIPv4OverEthernet()
	answer.SetOp(header.ARPReply)
	copy(answer.HardwareAddressSender(), mac)
	copy(answer.ProtocolAddressSender(), asked.ProtocolAddressTarget())
	copy(answer.HardwareAddressTarget(), is.MAC)
	copy(answer.ProtocolAddressTarget(), asked.ProtocolAddressSender())
	from.deliver(reply)
}

// owner is the MAC behind an address, or nil.
func (n *Network) owner(a netip.Addr) net.HardwareAddr {
	if a == lease.Gateway || a == lease.Host {
		return n.mac[:]
	}
	if m := n.byAddr(a); m != nil {
		return m.is().MAC
	}
	return nil
}
