package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// The policies that are one word.
const (
	Allow = "allow"
	Deny  = "deny"
)

const (
	maxRules = 64
	allowed  = "allow, deny, or up to 64 of CIDR[:PORT], host[:PORT] and dns, by comma"
)

// linkLocal is where clouds tell secrets to whoever asks.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// Policy is where one machine may connect to. The zero Policy is nowhere. It is
// never changed.
type Policy struct {
	all   bool
	dns   bool
	rules []rule
}

type rule struct {
	to   netip.Prefix
	port uint16 // 0 = every
}

// Parse reads a policy; "" is allow. Its error says what is allowed.
func Parse(text string) (Policy, error) {
	switch text {
	case "", Allow:
		return Policy{all: true}, nil
	case Deny:
		return Policy{}, nil
	}
	var p Policy
	words := strings.Split(text, ",")
	if len(words) > maxRules {
		return p, fmt.Errorf("%d rules: %s", len(words), allowed)
	}
	for _, word := range words {
		if word == "dns" {
			p.dns = true
			continue
		}
		r, err := parseRule(word)
		if err != nil {
			return Policy{}, fmt.Errorf("%.60q: %w: %s", word, err, allowed)
		}
		p.rules = append(p.rules, r)
	}
	return p, nil
}

func parseRule(word string) (r rule, err error) {
	place, port, hasPort := strings.Cut(word, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return r, fmt.Errorf("port %.20q is not 1 to 65535", port)
		}
		r.port = uint16(n)
	}
	switch {
	case place == "host":
		r.to = netip.PrefixFrom(lease.Host, 32)
	case strings.Contains(place, "/"):
		r.to, err = netip.ParsePrefix(place)
	default:
		var a netip.Addr
		a, err = netip.ParseAddr(place)
		r.to = netip.PrefixFrom(a, 32)
	}
	if err != nil || !r.to.Addr().Is4() || !r.to.IsValid() {
		return r, fmt.Errorf("no IPv4 address or network")
	}
	if r.to != r.to.Masked() {
		return r, fmt.Errorf("bits are set beyond the network's; %s is meant?", r.to.Masked())
	}
	return r, nil
}

// Open tells whether it allows all that can be allowed.
func (p Policy) Open() bool { return p.all }

// Allows tells whether a machine may connect to a port there. Port 0 is a
// protocol without ports: it needs a rule for every port.
func (p Policy) Allows(to netip.Addr, port uint16) bool {
	if p.all {
		return !linkLocal.Contains(to)
	}
	for _, r := range p.rules {
		if r.to.Contains(to) && (r.port == 0 || r.port == port) {
			return true
		}
	}
	return false
}

// Resolves tells whether a machine may resolve names that are no machine's.
func (p Policy) Resolves() bool { return p.all || p.dns }

// Equal tells whether two policies say the same in the same words.
func (p Policy) Equal(o Policy) bool {
	return p.all == o.all && p.dns == o.dns && slices.Equal(p.rules, o.rules)
}
