package agent

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// netArguments is what a machine with a network is told of it:
// arcbox.net=MAC,ADDRESS/BITS,GATEWAY,DOMAIN.
type netArguments struct {
	mac     net.HardwareAddr
	address netip.Prefix
	gateway netip.Addr
	domain  string
}

// parseNet refuses what is not whole.
func parseNet(value string) (n netArguments, ok bool) {
	words := strings.Split(value, ",")
	if len(words) != 4 || !domainName(words[3]) {
		return n, false
	}
	var errs [3]error
	n.mac, errs[0] = net.ParseMAC(words[0])
	n.address, errs[1] = netip.ParsePrefix(words[1])
	n.gateway, errs[2] = netip.ParseAddr(words[2])
	n.domain = words[3]
	for _, err := range errs {
		if err != nil {
			return netArguments{}, false
		}
	}
	if !n.address.Addr().Is4() || !n.address.Contains(n.gateway) {
		return netArguments{}, false
	}
	return n, true
}

// resolver is the resolv.conf of a machine with a network: the gateway answers.
func (n netArguments) resolver() string {
	return fmt.Sprintf("nameserver %s\nsearch %s\n", n.gateway, n.domain)
}

// resolved is the same for systemd-resolved, whose own file leads to itself.
func (n netArguments) resolved() string {
	return fmt.Sprintf("[Resolve]\nDNS=%s\nDomains=%s\n", n.gateway, n.domain)
}

func domainName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !hostName.MatchString(part) {
			return false
		}
	}
	return true
}
