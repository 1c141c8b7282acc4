package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

func question(t *testing.T, name string, kind dnsmessage.Type, edns uint16) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	if edns > 0 {
		m.Additionals = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Class: dnsmessage.Class(edns)}, Body: &dnsmessage.OPTResource{},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resolve asks the network's name server from a guest.
func resolve(t *testing.T, g *guest, query []byte) dnsmessage.Message {
	t.Helper()
	c := g.udp(t, netip.AddrPortFrom(lease.Gateway, dnsPort))
	defer func() { _ = c.Close() }()
	if _, err := c.Write(query); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	k, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return unpack(t, buf[:k])
}

func unpack(t *testing.T, b []byte) (m dnsmessage.Message) {
	t.Helper()
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if m.ID != 77 || !m.Response {
		t.Errorf("id %d, response %v", m.ID, m.Response)
	}
	return m
}

// dead is a dial to name servers that never answer.
func dead(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestOwnNames(t *testing.T) {
	n := newNetwork(t, Options{Dial: dead, DNSTime: patience, Servers: func() []string { return []string{"192.0.2.1:53"} }})
	a := newGuest(t, n, "a", "deny")
	set(t, n, machine(t, "Web-1", "allow"))
	web := machine(t, "Web-1", "allow").Addr
	w4 := web.As4()
	for _, test := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"web-1.arcbox.internal.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, web.String()},
		{"WEB-1.ARCBOX.internal.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, web.String()},
		{"web-1.arcbox.internal.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"host.arcbox.internal.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, lease.Host.String()},
		{"gateway.arcbox.internal.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, lease.Gateway.String()},
		{"nobody.arcbox.internal.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"nobody.arcbox.internal.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError, ""},
		{"x.web-1.arcbox.internal.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"arcbox.internal.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, ""},
		{"1.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeSuccess, "gateway.arcbox.internal."},
		{"3.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, ""},
		{netip.AddrFrom4([4]byte{w4[3], w4[2], w4[1], w4[0]}).String() + ".in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeSuccess, "Web-1.arcbox.internal."},
		{"example.com.", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""}, // its policy
	} {
		m := resolve(t, a, question(t, test.name, test.kind, 0))
		got := ""
		for _, r := range m.Answers {
			switch body := r.Body.(type) {
			case *dnsmessage.AResource:
				got = netip.AddrFrom4(body.A).String()
			case *dnsmessage.PTRResource:
				got = body.PTR.String()
			}
		}
		if m.RCode != test.code || got != test.want || len(m.Questions) != 1 {
			t.Errorf("%s %s: %s %q, want %s %q", test.name, test.kind, m.RCode, got, test.code, test.want)
		}
	}
	if s, _ := n.Stats("a"); s.Denied != 1 || s.Denials[0].Name != "example.com" {
		t.Errorf("%+v", s.Denials)
	}
}

// upstream is a name server of the host that answers with texts of so many
// bothAtOnePort listens for datagrams and connections, at a port that nobody has.
func bothAtOnePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", u.LocalAddr().String())
		if err == nil {
			t.Cleanup(func() {
				_ = u.Close()
				_ = l.Close()
			})
			return u, l
		}
		_ = u.Close() // its number is somebody's among the connections
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

// bytes.
func upstream(t *testing.T, size int) string {
	t.Helper()
	answer := func(query []byte) []byte {
		m := unpack(t, append([]byte{query[0], query[1], query[2] | 0x80}, query[3:]...))
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.TXTResource{TXT: strings.SplitAfter(strings.Repeat(strings.Repeat("x", 199)+"\n", size/200), "\n")},
		})
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	u, l := bothAtOnePort(t)
	go func() {
		buf := make([]byte, 4096)
		for {
			k, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte("noise"), from) // somebody guesses
			_, _ = u.WriteTo(answer(buf[:k]), from)
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if q, err := readMessage(c); err == nil {
				_ = writeMessage(c, answer(q))
			}
			_ = c.Close()
		}
	}()
	return u.LocalAddr().String()
}

func TestOtherNames(t *testing.T) {
	server := upstream(t, 2000)
	n := newNetwork(t, Options{Servers: func() []string { return []string{server} }})
	a := newGuest(t, n, "a", "allow")
	if m := resolve(t, a, question(t, "example.com.", dnsmessage.TypeTXT, 4096)); len(m.Answers) != 1 || m.Truncated {
		t.Errorf("with room: %d answers, truncated %v", len(m.Answers), m.Truncated)
	}
	if m := resolve(t, a, question(t, "example.com.", dnsmessage.TypeTXT, 0)); len(m.Answers) != 0 || !m.Truncated {
		t.Errorf("without room: %d answers, truncated %v", len(m.Answers), m.Truncated)
	}
	c, err := a.dial(t.Context(), netip.AddrPortFrom(lease.Gateway, dnsPort))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, name := range []string{"example.com.", "a.arcbox.internal."} { // by one connection
		if err := writeMessage(c, question(t, name, dnsmessage.TypeTXT, 0)); err != nil {
			t.Fatal(err)
		}
		b, err := readMessage(c)
		if err != nil {
			t.Fatal(err)
		}
		if m := unpack(t, b); m.RCode != dnsmessage.RCodeSuccess {
			t.Errorf("%s: %s", name, m.RCode)
		}
	}
}

// Name servers that are dead say so in time, and hold up no name of ours.
func TestDeadServers(t *testing.T) {
	server := upstream(t, 200)
	for what, dial := range map[string]dialFunc{
		"silent":  dead,
		"refused": func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") },
	} {
		n := newNetwork(t, Options{Dial: dial, DNSTime: 50 * time.Millisecond, Servers: func() []string { return []string{server, server} }})
		a := newGuest(t, n, "a", "allow")
		if m := resolve(t, a, question(t, "example.com.", dnsmessage.TypeA, 0)); m.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("%s: %s", what, m.RCode)
		}
	}
	// The second answers where the first does not.
	n := newNetwork(t, Options{DNSTime: patience / 4, Servers: func() []string { return []string{"127.0.0.1:1", server} }})
	a := newGuest(t, n, "a", "allow")
	if m := resolve(t, a, question(t, "example.com.", dnsmessage.TypeTXT, 4096)); m.RCode != dnsmessage.RCodeSuccess {
		t.Errorf("the second: %s", m.RCode)
	}
	// Without end, they are bounded; our own names are answered meanwhile.
	n = newNetwork(t, Options{Dial: dead, DNSTime: patience, Servers: func() []string { return []string{server} }})
	a = newGuest(t, n, "a", "allow")
	c := a.udp(t, netip.AddrPortFrom(lease.Gateway, dnsPort))
	for range maxOwnAsks + 1 {
		if _, err := c.Write(question(t, "example.com.", dnsmessage.TypeA, 0)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 512)
	k, err := c.Read(buf)
	if err != nil || unpack(t, buf[:k]).RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("one too many: %v", err)
	}
	if m := resolve(t, a, question(t, "a.arcbox.internal.", dnsmessage.TypeA, 0)); len(m.Answers) != 1 {
		t.Errorf("own name: %s", m.RCode)
	}
}

func TestParseResolvers(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "127.0.0.1:53",
		"search x\nnameserver 10.0.0.1\n":     "10.0.0.1:53",
		"nameserver x\nnameserver fe80::1%e0": "[fe80::1%e0]:53",
		"nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4": "1.1.1.1:53 1.1.1.2:53 1.1.1.3:53",
	} {
		if got := strings.Join(parseResolvers(strings.NewReader(text)), " "); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	n, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(n.Close)
	m := newMember(context.Background(), func(string) {})
	m.become(Machine{ID: "a", Name: "a"})
	f.Add([]byte("\x00\x4d\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x06arcbox\x08internal\x00\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, query []byte) {
		answer, _ := n.answer(m, query)
		if len(answer) > 0 && !answers(answer, query) {
			t.Fatalf("%x is no answer to %x", answer, query)
		}
		truncated(append(query, make([]byte, 600)...), query)
	})
}
