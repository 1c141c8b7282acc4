package network

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// etherFrame makes a frame.
func etherFrame(src, dst net.HardwareAddr, kind tcpip.NetworkProtocolNumber, body []byte) []byte {
	b := make([]byte, header.EthernetMinimumSize)
	header.Ethernet(b).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(src), DstAddr: tcpip.LinkAddress(dst), Type: kind})
	return append(b, body...)
}

func ipUDP(src, dst netip.Addr, from, to uint16, body []byte) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize)
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(b) + len(body)), TTL: 64, Protocol: udpProto, SrcAddr: theirs(src), DstAddr: theirs(dst)})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.UDP(b[header.IPv4MinimumSize:]).Encode(&header.UDPFields{SrcPort: from, DstPort: to, Length: uint16(header.UDPMinimumSize + len(body))})
	return append(b, body...)
}

func arpRequest(m Machine, sender, target netip.Addr) []byte {
	b := make([]byte, header.ARPSize)
	a := header.ARP(b)
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), m.MAC)
	copy(a.ProtocolAddressSender(), sender.AsSlice())
	copy(a.ProtocolAddressTarget(), target.AsSlice())
	return etherFrame(m.MAC, everybody, header.ARPProtocolNumber, b)
}

var everybody = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func sendFrame(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		t.Fatal(err)
	}
}

func nextFrame(t *testing.T, c net.Conn) []byte {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is not a machine's to send reaches nobody, and is counted.
func TestForeignFrames(t *testing.T) {
	n := newNetwork(t, Options{})
	evil, victim, other := machine(t, "evil", "allow"), machine(t, "victim", "allow"), machine(t, "other", "allow")
	for _, m := range []Machine{evil, victim, other} {
		set(t, n, m)
	}
	wire, heard := plugIn(t, n, evil), plugIn(t, n, other)
	plugIn(t, n, victim)
	body := []byte("x")
	foreign := [][]byte{
		etherFrame(victim.MAC, other.MAC, header.IPv4ProtocolNumber, ipUDP(evil.Addr, other.Addr, 1, 2, body)),
		etherFrame(evil.MAC, other.MAC, header.IPv4ProtocolNumber, ipUDP(victim.Addr, other.Addr, 1, 2, body)),
		etherFrame(evil.MAC, n.mac[:], header.IPv4ProtocolNumber, ipUDP(lease.Gateway, lease.Host, 1, 2, body)),
		arpRequest(evil, victim.Addr, other.Addr),
		{}, make([]byte, header.EthernetMinimumSize-1), make([]byte, maxFrame+1), make([]byte, longest),
	}
	for _, b := range foreign {
		sendFrame(t, wire, b)
	}
	for _, b := range [][]byte{ // what is lost without a count
		etherFrame(evil.MAC, everybody, header.IPv4ProtocolNumber, ipUDP(evil.Addr, broadcast, 1, 2, body)),
		etherFrame(evil.MAC, other.MAC, header.IPv4ProtocolNumber, ipUDP(evil.Addr, victim.Addr, 1, 2, body)),
		etherFrame(evil.MAC, other.MAC, header.IPv6ProtocolNumber, make([]byte, 40)),
		etherFrame(evil.MAC, other.MAC, header.IPv4ProtocolNumber, []byte{0x45}),
		etherFrame(evil.MAC, other.MAC, header.IPv4ProtocolNumber, nil),
		etherFrame(evil.MAC, everybody, header.ARPProtocolNumber, []byte{1}),
		etherFrame(evil.MAC, n.mac[:], header.IPv4ProtocolNumber, ipUDP(evil.Addr, victim.Addr, 1, 2, body)),
	} {
		sendFrame(t, wire, b)
	}
	sendFrame(t, wire, etherFrame(evil.MAC, other.MAC, header.IPv4ProtocolNumber, ipUDP(evil.Addr, other.Addr, 1, 7, []byte("honest"))))
	if b := nextFrame(t, heard); string(b[len(b)-6:]) != "honest" {
		t.Errorf("%x", b)
	}
	if s, _ := n.Stats("evil"); s.Foreign != uint64(len(foreign)) {
		t.Errorf("%d foreign frames were counted, want %d", s.Foreign, len(foreign))
	}
}

func TestARP(t *testing.T) {
	n := newNetwork(t, Options{})
	a, b := machine(t, "a", "allow"), machine(t, "b", "allow")
	set(t, n, a)
	set(t, n, b)
	wire := plugIn(t, n, a)
	for _, nobody := range []netip.Addr{a.Addr, netip.MustParseAddr("198.18.0.99")} {
		sendFrame(t, wire, arpRequest(a, netip.IPv4Unspecified(), nobody))
	}
	for _, test := range []struct {
		target netip.Addr
		mac    net.HardwareAddr
	}{{b.Addr, b.MAC}, {lease.Gateway, n.mac[:]}, {lease.Host, n.mac[:]}} {
		sendFrame(t, wire, arpRequest(a, a.Addr, test.target))
		reply := header.ARP(nextFrame(t, wire)[header.EthernetMinimumSize:])
		if reply.Op() != header.ARPReply || net.HardwareAddr(reply.HardwareAddressSender()).String() != test.mac.String() {
			t.Errorf("%s: %x", test.target, reply)
		}
	}
}

func TestDHCP(t *testing.T) {
	n := newNetwork(t, Options{})
	m := machine(t, "a", "allow")
	set(t, n, m)
	wire := plugIn(t, n, m)
	ask := func(msg *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		t.Helper()
		sendFrame(t, wire, etherFrame(m.MAC, everybody, header.IPv4ProtocolNumber, ipUDP(netip.IPv4Unspecified(), broadcast, 68, 67, msg.ToBytes())))
		reply, err := dhcpv4.FromBytes(nextFrame(t, wire)[header.EthernetMinimumSize+header.IPv4MinimumSize+header.UDPMinimumSize:])
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	discover, err := dhcpv4.NewDiscovery(m.MAC)
	if err != nil {
		t.Fatal(err)
	}
	offer := ask(discover)
	if offer.MessageType() != dhcpv4.MessageTypeOffer || !offer.YourIPAddr.Equal(m.Addr.AsSlice()) {
		t.Errorf("%s", offer.Summary())
	}
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	ack := ask(request)
	ones, _ := ack.SubnetMask().Size()
	if ack.MessageType() != dhcpv4.MessageTypeAck || !ack.YourIPAddr.Equal(m.Addr.AsSlice()) || ones != lease.Subnet.Bits() ||
		ack.DNS()[0].String() != lease.Gateway.String() || ack.Router()[0].String() != lease.Gateway.String() ||
		ack.HostName() != "a" || ack.DomainName() != Zone || ack.IPAddressLeaseTime(0) < time.Hour {
		t.Errorf("%s", ack.Summary())
	}
	request.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IP{198, 18, 9, 9}))
	if nak := ask(request); nak.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("%s", nak.Summary())
	}
}

// A switch that any frame could break would break for all.
func FuzzTake(f *testing.F) {
	n, err := New(Options{Dial: dead})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(n.Close)
	m := Machine{ID: "a", Name: "a", MAC: net.HardwareAddr{0x52, 1, 2, 3, 4, 5}, Addr: lease.First}
	if err := errors.Join(n.Set(m), n.Set(Machine{ID: "b", Name: "b", MAC: net.HardwareAddr{0x52, 1, 2, 3, 4, 6}, Addr: lease.First.Next()})); err != nil {
		f.Fatal(err)
	}
	mem := n.ids["a"]
	f.Add(arpRequest(m, m.Addr, lease.Gateway))
	f.Add(etherFrame(m.MAC, n.mac[:], header.IPv4ProtocolNumber, ipUDP(m.Addr, lease.Gateway, 1, 53, nil)))
	f.Add(etherFrame(m.MAC, everybody, header.IPv4ProtocolNumber, ipUDP(netip.IPv4Unspecified(), broadcast, 68, 67, []byte{1})))
	f.Add(etherFrame(m.MAC, net.HardwareAddr{0x52, 1, 2, 3, 4, 6}, header.IPv4ProtocolNumber, ipUDP(m.Addr, lease.First.Next(), 1, 2, nil)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) < header.EthernetMinimumSize || len(b) > maxFrame {
			return
		}
		g := newFrame(len(b))
		copy(g.data(), b)
		n.take(mem, g)
	})
}
