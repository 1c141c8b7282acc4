package guest

import (
	"net"
	"net/netip"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// SelectAddress chooses the address that a machine is reached at: of the
// interface with the MAC that we gave it, the first IPv4 address that is not
// loopback or link-local, else the first such IPv6 address, else "". Other
// interfaces are the guest's own affair: a container bridge must never win.
func SelectAddress(interfaces []*wire.Interface, mac string) string {
	want, err := net.ParseMAC(mac)
	if err != nil {
		return ""
	}
	v6 := ""
	for _, i := range interfaces {
		have, err := net.ParseMAC(i.GetMac())
		if err != nil || have.String() != want.String() {
			continue
		}
		for _, text := range i.GetAddresses() {
			addr, ok := routable(text)
			switch {
			case !ok:
			case addr.Is4():
				return addr.String()
			case v6 == "":
				v6 = addr.String()
			}
		}
	}
	return v6
}

// routable reads an address in CIDR notation or without a length.
func routable(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return addr, false
		}
		addr = prefix.Addr()
	}
	addr = addr.Unmap().WithZone("")
	return addr, addr.IsGlobalUnicast()
}
