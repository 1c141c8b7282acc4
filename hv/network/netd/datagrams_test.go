package netd

import (
	"net"
	"net/netip"
	"testing"
)

// However many have spoken, whoever comes next is heard.
func TestPeersAreBounded(t *testing.T) {
	p := &peers{all: map[netip.AddrPort]net.Conn{}}
	const many = 1000
	ended := make(chan struct{}, many)
	var last net.Conn
	for i := range many {
		here, there := net.Pipe()
		defer func() { _ = there.Close() }()
		g := p.find(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i)), func() (net.Conn, error) { return here, nil }, func(g net.Conn) {
			_, _ = g.Read(make([]byte, 1))
			ended <- struct{}{}
		})
		if g == nil {
			t.Fatalf("peer %d is not heard", i)
		}
		last = g
	}
	if again := p.find(netip.AddrPortFrom(netip.IPv4Unspecified(), many-1), nil, nil); again != last {
		t.Error("the newest has lost its exchange")
	}
	for range many - 256 {
		<-ended
	}
	select {
	case <-ended:
		t.Error("more have ended than had to")
	default:
	}
}
