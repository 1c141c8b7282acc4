package network

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// answer is what this network says by itself to a question: about its own
// names and addresses, and where a machine may ask no more. forward tells that
// the name servers of the host have to be asked. A nil answer is none at all.
func (n *Network) answer(m *member, query []byte) (answer []byte, forward bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil, false
	}
	if h.OpCode != 0 {
		return failed(query, dnsmessage.RCodeNotImplemented), false
	}
	q, err := p.Question()
	if err != nil {
		return failed(query, dnsmessage.RCodeFormatError), false
	}
	name := strings.TrimSuffix(nameKey(q.Name.String()), ".")
	if local, ok := strings.CutSuffix(name, "."+Zone); ok || name == Zone {
		return n.answerName(h, q, local, ok), false
	}
	if a, ok := reversed(name); ok && lease.Subnet.Contains(a) {
		return n.answerAddr(h, q, a), false
	}
	if !m.is().Egress.Resolves() {
		m.deny(Denial{Protocol: "dns", Name: clip(name)})
		return failed(query, dnsmessage.RCodeRefused), false
	}
	return nil, true
}

// answerName answers for a name of the zone. Names have IPv4 addresses only, so
// that any other question about one that exists has an empty answer.
func (n *Network) answerName(h dnsmessage.Header, q dnsmessage.Question, local string, below bool) []byte {
	a, known := n.named(local)
	if below && !known {
		return reply(h, q, dnsmessage.RCodeNameError, nil)
	}
	if known && q.Type == dnsmessage.TypeA {
		return reply(h, q, dnsmessage.RCodeSuccess, &dnsmessage.AResource{A: a.As4()})
	}
	return reply(h, q, dnsmessage.RCodeSuccess, nil)
}

// named finds an address by the part of its name before the zone.
func (n *Network) named(local string) (netip.Addr, bool) {
	switch local {
	case "gateway":
		return lease.Gateway, true
	case "host":
		return lease.Host, true
	}
	n.mu.RLock()
	m := n.names[local]
	n.mu.RUnlock()
	if m == nil {
		return netip.Addr{}, false
	}
	return m.is().Addr, true
}

// answerAddr answers who has an address.
func (n *Network) answerAddr(h dnsmessage.Header, q dnsmessage.Question, a netip.Addr) []byte {
	var local string
	switch m := n.byAddr(a); {
	case m != nil:
		local = m.is().Name
	case a == lease.Gateway:
		local = "gateway"
	case a == lease.Host:
		local = "host"
	default:
		return reply(h, q, dnsmessage.RCodeNameError, nil)
	}
	name, err := dnsmessage.NewName(local + "." + Zone + ".")
	if err != nil || q.Type != dnsmessage.TypePTR {
		return reply(h, q, dnsmessage.RCodeSuccess, nil)
	}
	return reply(h, q, dnsmessage.RCodeSuccess, &dnsmessage.PTRResource{PTR: name})
}

// reversed reads the name under which an IPv4 address is asked about.
func reversed(name string) (netip.Addr, bool) {
	rest, ok := strings.CutSuffix(name, ".in-addr.arpa")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 4 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.Join([]string{parts[3], parts[2], parts[1], parts[0]}, "."))
	return a, err == nil && a.Is4()
}

// reply makes an answer of our own; body nil = there is none, and the zone says
// for how long.
func reply(h dnsmessage.Header, q dnsmessage.Question, code dnsmessage.RCode, body dnsmessage.ResourceBody) []byte {
	msg := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
		},
		Questions: []dnsmessage.Question{q},
	}
	if body != nil {
		msg.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ownTTL}, Body: body,
		}}
	} else {
		zone := dnsmessage.MustNewName(Zone + ".")
		msg.Authorities = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: zone, Class: dnsmessage.ClassINET, TTL: ownTTL},
			Body: &dnsmessage.SOAResource{
				NS: dnsmessage.MustNewName("gateway." + Zone + "."), MBox: dnsmessage.MustNewName("nobody." + Zone + "."),
				Serial: 1, Refresh: ownTTL, Retry: ownTTL, Expire: ownTTL, MinTTL: ownTTL,
			},
		}}
	}
	out, err := msg.Pack()
	if err != nil {
		return nil
	}
	return out
}

// failed is an answer that says only that there is none: the question's header
// with a code.
func failed(query []byte, code dnsmessage.RCode) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	msg := dnsmessage.Message{Header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
	}}
	if q, err := p.Question(); err == nil {
		msg.Questions = []dnsmessage.Question{q}
	}
	out, err := msg.Pack()
	if err != nil {
		return nil
	}
	return out
}

// truncated bounds an answer by UDP to what the guest takes; it asks again by
// TCP.
func truncated(answer, query []byte) []byte {
	if len(answer) <= room(query) {
		return answer
	}
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil {
		return nil
	}
	q, err := p.AllQuestions()
	if err != nil {
		return nil
	}
	h.Truncated = true
	out, err := (&dnsmessage.Message{Header: h, Questions: q}).Pack()
	if err != nil {
		return nil
	}
	return out
}

// room is how large an answer by UDP may be, as the question says (EDNS).
func room(query []byte) int {
	var p dnsmessage.Parser
	if _, err := p.Start(query); err != nil {
		return plainSize
	}
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return plainSize
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return plainSize
		}
		if h.Type == dnsmessage.TypeOPT {
			return min(max(int(h.Class), plainSize), udpMost)
		}
		if p.SkipAdditional() != nil {
			return plainSize
		}
	}
}

// clip bounds a name that a guest chose.
func clip(name string) string { return name[:min(len(name), 100)] }
