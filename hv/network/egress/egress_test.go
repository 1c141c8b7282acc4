package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	for _, test := range []struct {
		policy, to string
		port       uint16
		want       bool
	}{
		{"", "1.2.3.4", 80, true},
		{"allow", "198.18.0.2", 80, true},
		{"allow", "169.254.169.254", 80, false},
		{"169.254.169.254:80", "169.254.169.254", 80, true},
		{"deny", "1.2.3.4", 80, false},
		{"deny", "198.18.0.2", 80, false},
		{"10.0.0.0/8", "10.1.2.3", 80, true},
		{"10.0.0.0/8", "10.1.2.3", 0, true},
		{"10.0.0.0/8", "11.1.2.3", 80, false},
		{"10.0.0.0/8:443", "10.1.2.3", 443, true},
		{"10.0.0.0/8:443", "10.1.2.3", 80, false},
		{"10.0.0.0/8:443", "10.1.2.3", 0, false},
		{"1.2.3.4,5.6.7.8:53", "5.6.7.8", 53, true},
		{"1.2.3.4,5.6.7.8:53", "5.6.7.8", 54, false},
		{"host:3142", "198.18.0.2", 3142, true},
		{"host:3142", "198.18.0.2", 22, false},
		{"host", "198.18.0.2", 22, true},
		{"dns", "8.8.8.8", 53, false},
		{"0.0.0.0/0", "9.9.9.9", 9, true},
	} {
		p, err := Parse(test.policy)
		if err != nil {
			t.Errorf("%q: %v", test.policy, err)
		}
		if got := p.Allows(netip.MustParseAddr(test.to), test.port); got != test.want {
			t.Errorf("%q, %s:%d: %v", test.policy, test.to, test.port, got)
		}
	}
}

func TestResolves(t *testing.T) {
	for policy, want := range map[string]bool{"allow": true, "deny": false, "1.2.3.4": false, "1.2.3.4,dns": true} {
		if p, err := Parse(policy); err != nil || p.Resolves() != want {
			t.Errorf("%q: %v, %v", policy, p.Resolves(), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, bad := range []string{
		"Allow", ",", "1.2.3.4,", "1.2.3", "::1", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x", "10.0.0.1/8", "10.0.0.0/33", "::/0", "host:", "hosts",
		strings.Repeat("1.2.3.4,", maxRules) + "1.2.3.4", "allow,1.2.3.4", strings.Repeat("x", 1000),
	} {
		_, err := Parse(bad)
		if err == nil {
			t.Errorf("%q is taken", bad)
		} else if !strings.Contains(err.Error(), "CIDR[:PORT]") || len(err.Error()) > 300 {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("10.0.0.0/8:443,host,dns")
	f.Fuzz(func(_ *testing.T, text string) {
		p, _ := Parse(text)
		p.Allows(netip.MustParseAddr("1.2.3.4"), 80)
	})
}
