package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// socket is a TCP socket of the guest that listens.
type socket struct {
	at    netip.AddrPort
	inode uint32
}

// Sizes of what the kernel's sock_diag asks and answers: inet_diag_req_v2 and
// inet_diag_msg.
const (
	diagRequestSize = 56
	diagAnswerSize  = 72
)

// diagRequest asks for the TCP sockets of a family in some states.
func diagRequest(family uint8, states uint32) []byte {
	const tcp = 6
	b := make([]byte, diagRequestSize)
	b[0], b[1] = family, tcp
	binary.NativeEndian.PutUint32(b[4:], states)
	return b
}

// parseSocket reads one answer.
func parseSocket(b []byte) (socket, error) {
	if len(b) < diagAnswerSize {
		return socket{}, fmt.Errorf("sock_diag: an answer of %d bytes", len(b))
	}
	size := 4
	if b[0] != afInet {
		size = 16
	}
	addr, _ := netip.AddrFromSlice(b[8 : 8+size])
	return socket{
		at:    netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[4:])),
		inode: binary.NativeEndian.Uint32(b[diagAnswerSize-4:]),
	}, nil
}

// afInet is AF_INET on every system.
const afInet = 2

var errNoDiag = errors.New("the guest's kernel can't tell what listens: it has no tcp_diag")

// resolved are where systemd-resolved answers: the guest's own way to ask for
// names, which is there in most images and of use to nobody else.
var resolved = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.53:53"), netip.MustParseAddrPort("127.0.0.54:53")}

// listenersOf is what there is to tell of sockets, without our own: each port once,
// where it is reached most plainly.
func listenersOf(all []socket, own map[uint32]bool) *wire.ListenersReply {
	where := map[uint16]netip.Addr{} // the zero address is the loopback
	for _, s := range all {
		addr := s.at.Addr()
		if own[s.inode] || s.at.Port() == 0 || slices.Contains(resolved, s.at) || addr.IsLinkLocalUnicast() {
			continue
		}
		if addr.IsUnspecified() || addr == loopback4 || addr == netip.IPv6Loopback() {
			addr = netip.Addr{}
		}
		if was, ok := where[s.at.Port()]; !ok || addr.Compare(was) < 0 {
			where[s.at.Port()] = addr
		}
	}
	out := &wire.ListenersReply{}
	for port, addr := range where {
		out.Listeners = append(out.Listeners, &wire.Listener{Port: uint32(port), Address: addr.AsSlice()})
	}
	slices.SortFunc(out.Listeners, func(a, b *wire.Listener) int { return int(a.GetPort()) - int(b.GetPort()) })
	if n := len(out.Listeners); n > wire.MaxListeners {
		out.Listeners, out.More = out.Listeners[:wire.MaxListeners], uint32(n-wire.MaxListeners)
	}
	return out
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
