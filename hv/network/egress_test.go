package network

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// reaches tells whether a guest gets through to a place.
func reaches(t *testing.T, g *guest, to string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := g.dial(ctx, netip.MustParseAddrPort(to))
	if ctx.Err() != nil {
		t.Errorf("%s: neither answered nor refused", to)
	}
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	return says(t, c, "hi") == "hi"
}

func TestEgress(t *testing.T) {
	_, dial := outside(t)
	n := newNetwork(t, Options{Dial: dial})
	server := newGuest(t, n, "server", "allow")
	go echo(server.listen(t, 80))
	at := netip.AddrPortFrom(server.Addr, 80).String()
	for policy, want := range map[string][3]bool{
		"allow":                      {true, true, true},
		"deny":                       {false, false, false},
		"1.2.3.0/24:80":              {true, false, false},
		"host":                       {false, true, false},
		server.Addr.String():         {false, false, true},
		"0.0.0.0/0:81,198.18.0.2/32": {false, true, false},
	} {
		g := newGuest(t, n, "guest", policy)
		for i, to := range []string{"1.2.3.4:80", "198.18.0.2:80", at} {
			if got := reaches(t, g, to); got != want[i] {
				t.Errorf("%s, %s: reached is %v", policy, to, got)
			}
		}
		s, _ := n.Stats("guest")
		denied := 0
		for _, w := range want {
			if !w {
				denied++
			}
		}
		if s.Denied < uint64(denied) || len(s.Denials) != denied {
			t.Errorf("%s: %d denied, %v", policy, s.Denied, s.Denials)
		}
		n.Drop("guest")
	}
}

// Who may begin nothing still answers.
func TestDeniedAnswers(t *testing.T) {
	n := newNetwork(t, Options{})
	shut, a := newGuest(t, n, "shut", "deny"), newGuest(t, n, "a", "allow")
	go echo(shut.listen(t, 80))
	if !reaches(t, a, netip.AddrPortFrom(shut.Addr, 80).String()) {
		t.Error("a machine that may connect nowhere can't be connected to")
	}
	go echo(a.listen(t, 80))
	if reaches(t, shut, netip.AddrPortFrom(a.Addr, 80).String()) {
		t.Error("and reached who asked it")
	}
}

// A new policy ends what the old one allowed.
func TestPolicyChanges(t *testing.T) {
	_, dial := outside(t)
	n := newNetwork(t, Options{Dial: dial})
	g := newGuest(t, n, "g", "allow")
	c, err := g.dial(t.Context(), netip.MustParseAddrPort("1.2.3.4:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	m := g.Machine
	set(t, n, m) // the same again changes nothing
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the connection ended: %v", err)
	}
	m.Egress = policy(t, "deny")
	set(t, n, m)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	if reaches(t, g, "1.2.3.4:80") {
		t.Error("it is still let through")
	}
	if s, _ := n.Stats("g"); len(s.Denials) != 1 {
		t.Errorf("%+v", s)
	}
	m.Egress = policy(t, "1.2.3.4:81")
	set(t, n, m)
	if s, _ := n.Stats("g"); len(s.Denials) != 0 || s.Denied == 0 {
		t.Errorf("of another policy: %+v", s)
	}
}

func TestFlowsAreBounded(t *testing.T) {
	var f flows
	for i := range maxFlows + 100 {
		f.note(flow{udpProto, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1), netip.AddrPort{}})
	}
	if len(f.until) != maxFlows {
		t.Errorf("%d flows", len(f.until))
	}
	f.clear()
	if f.known(flow{}) || len(f.until) != 0 {
		t.Error("flows are left")
	}
}
