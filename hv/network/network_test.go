package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*processor).start"))
}

func TestMachinesReachEachOther(t *testing.T) {
	n := newNetwork(t, Options{})
	a, b := newGuest(t, n, "a", "allow"), newGuest(t, n, "b", "allow")
	go echo(b.listen(t, 80))
	text := strings.Repeat("hello ", 100_000)
	c, err := a.dial(t.Context(), netip.AddrPortFrom(b.Addr, 80))
	if err != nil {
		t.Fatal(err)
	}
	if got := says(t, c, text); got != text {
		t.Errorf("%d bytes came back of %d", len(got), len(text))
	}
	if s, _ := n.Stats("a"); s.Foreign != 0 || s.Sent < uint64(len(text)) || s.Received < uint64(len(text)) {
		t.Errorf("%+v", s)
	}
}

// outside is a listener of the host that stands for all the world.
func outside(t *testing.T) (listen net.Listener, dial dialFunc) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go echo(l)
	return l, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}
}

func TestOutside(t *testing.T) {
	_, dial := outside(t)
	n := newNetwork(t, Options{Dial: dial})
	a := newGuest(t, n, "a", "allow")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			c, err := a.dial(t.Context(), netip.MustParseAddrPort("93.184.216.34:443"))
			if err != nil {
				t.Error(err)
				return
			}
			text := strings.Repeat("x", 300_000)
			if got := says(t, c, text); got != text {
				t.Errorf("%d bytes came back of %d", len(got), len(text))
			}
		})
	}
	all.Wait()
	free := make(chan struct{})
	go func() { // every place is had again once no connection has one
		defer close(free)
		for range maxConns {
			n.ids["a"].conns <- struct{}{}
		}
	}()
	await(t, "the end of the connections", free)
}

func TestHostsLoopback(t *testing.T) {
	l, _ := outside(t)
	n := newNetwork(t, Options{})
	a := newGuest(t, n, "a", "allow")
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	c, err := a.dial(t.Context(), netip.AddrPortFrom(lease.Host, port))
	if err != nil {
		t.Fatal(err)
	}
	if got := says(t, c, "hi"); got != "hi" {
		t.Errorf("%q", got)
	}
}

// Who refuses outside refuses inside, at once; and so does what can be nothing
// outside.
func TestRefused(t *testing.T) {
	n := newNetwork(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }})
	a := newGuest(t, n, "a", "allow")
	for _, to := range []string{"93.184.216.34:443", "198.18.0.1:80"} {
		c, err := a.dial(t.Context(), netip.MustParseAddrPort(to))
		if err == nil {
			_ = c.Close()
			t.Errorf("%s: connected", to)
		}
	}
}

func TestDatagrams(t *testing.T) {
	host, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	go func() {
		buf := make([]byte, 100)
		for {
			k, from, err := host.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = host.WriteTo(append([]byte("re: "), buf[:k]...), from)
		}
	}()
	n := newNetwork(t, Options{})
	a := newGuest(t, n, "a", "allow")
	c := a.udp(t, netip.AddrPortFrom(lease.Host, uint16(host.LocalAddr().(*net.UDPAddr).Port)))
	buf := make([]byte, 100)
	for range 3 {
		if _, err := c.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
		if k, err := c.Read(buf); err != nil || string(buf[:k]) != "re: hi" {
			t.Fatalf("%q, %v", buf[:k], err)
		}
	}
	if s, _ := n.Stats("a"); s.Connections != 1 {
		t.Errorf("%d exchanges, want 1", s.Connections)
	}
	// More than there may be end the oldest, and nothing else.
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for range maxTalks + 10 {
		if _, err := a.udp(t, netip.AddrPortFrom(lease.Host, uint16(silent.LocalAddr().(*net.UDPAddr).Port))).Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	resolve(t, a, question(t, "host.arcbox.internal.", dnsmessage.TypeA, 0)) // behind them all
	if s, _ := n.Stats("a"); s.Connections != maxTalks {
		t.Errorf("%d exchanges, want %d", s.Connections, maxTalks)
	}
}

// A guest that reads nothing, and one whose frames make no sense, hold up
// nobody.
func TestPortsAreApart(t *testing.T) {
	n := newNetwork(t, Options{})
	a, b := newGuest(t, n, "a", "allow"), newGuest(t, n, "b", "allow")
	deaf, wild, loud := machine(t, "deaf", "allow"), machine(t, "wild", "allow"), machine(t, "loud", "allow")
	for _, m := range []Machine{deaf, wild, loud} {
		set(t, n, m)
	}
	plugIn(t, n, deaf)
	chaos := plugIn(t, n, wild)
	if _, err := chaos.Write([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the wild one's link", chaos.ended)
	flood := plugIn(t, n, loud)
	for range 4000 {
		sendFrame(t, flood, etherFrame(loud.MAC, deaf.MAC, header.IPv4ProtocolNumber, ipUDP(loud.Addr, deaf.Addr, 9, 9, make([]byte, 8000))))
	}
	sendFrame(t, flood, arpRequest(loud, loud.Addr, b.Addr))
	nextFrame(t, flood) // behind the flood
	go echo(b.listen(t, 80))
	c, err := a.dial(t.Context(), netip.AddrPortFrom(b.Addr, 80))
	if err != nil {
		t.Fatal(err)
	}
	if got := says(t, c, "hi"); got != "hi" {
		t.Errorf("%q", got)
	}
	if s, _ := n.Stats("deaf"); s.Dropped == 0 {
		t.Errorf("nothing was dropped: %+v", s)
	}
}

// The newest link counts, and a machine that is dropped has none.
func TestPlugAgainAndDrop(t *testing.T) {
	n := newNetwork(t, Options{})
	m := machine(t, "a", "allow")
	set(t, n, m)
	first := plugIn(t, n, m)
	plugIn(t, n, m)
	_ = first.SetReadDeadline(time.Now().Add(patience))
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the first link goes on")
	}
	if s, _ := n.Stats("a"); !s.Linked {
		t.Error("the second link ended too")
	}
	n.Drop("a")
	if _, ok := n.Stats("a"); ok {
		t.Error("it still belongs")
	}
	here, there := wire(t)
	if err := n.Carry(t.Context(), "a", there); err == nil {
		t.Error("a dropped machine is carried")
	}
	if _, err := here.Read(make([]byte, 1)); err == nil {
		t.Error("its stream is open")
	}
}

func TestSet(t *testing.T) {
	n := newNetwork(t, Options{})
	a, b := machine(t, "a", "allow"), machine(t, "b", "allow")
	set(t, n, a)
	for what, bad := range map[string]Machine{
		"another's address": {ID: "b", Name: "b", MAC: b.MAC, Addr: a.Addr},
		"another's MAC":     {ID: "b", Name: "b", MAC: a.MAC, Addr: b.Addr},
		"the gateway's":     {ID: "b", Name: "b", MAC: b.MAC, Addr: lease.Gateway},
		"a group's MAC":     {ID: "b", Name: "b", MAC: net.HardwareAddr{1, 0, 0, 0, 0, 0}, Addr: b.Addr},
		"no MAC":            {ID: "b", Name: "b", Addr: b.Addr},
		"another net":       {ID: "b", Name: "b", MAC: b.MAC, Addr: netip.MustParseAddr("10.0.0.1")},
	} {
		if err := n.Set(bad); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	a.Name = "other"
	set(t, n, a)
	if _, ok := n.named("a"); ok {
		t.Error("the old name is known")
	}
	if _, ok := n.named("other"); !ok {
		t.Error("the new name is not known")
	}
}
