package main

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// networkFlags are the flags that say what a machine has of the network.
type networkFlags struct {
	network, egress string
	ports, sockets  []string
	autoPorts       bool
}

// autoPortsUsage is of the flag of create and of set.
const autoPortsUsage = "forward what the guest listens at (TCP), as it comes and goes, from the same ports of this host's loopback"

var networks = []string{"nat", "none"}

const egressUsage = "where it may connect to: allow, deny, or CIDR[:PORT], host[:PORT] and dns, by comma"

// egressWords are the policies, and the parts of one, that are words.
var egressWords = []string{"allow", "deny", "dns", "host"}

func (n *networkFlags) add(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.network, "network", "", "nat or none (default: nat; a sim has none)")
	f.StringVar(&n.egress, "egress", "allow", egressUsage)
	a.complete(cmd, "egress", egressWords...)
	f.StringArrayVarP(&n.ports, "port", "p", nil, "a port of the host that leads to one of the guest: [ADDRESS:]HOST:GUEST[/udp]; HOST 0 = any that is free")
	f.BoolVar(&n.autoPorts, "auto-ports", false, autoPortsUsage)
	f.StringArrayVar(&n.sockets, "socket", nil, "a socket of the host that leads to one of the guest: HOST:GUEST, both paths; with :in behind it the guest's leads to the host's")
	a.complete(cmd, "network", networks...)
}

// connect says in a spec what the flags say.
func (n *networkFlags) connect(spec *wire.Spec, far bool) error {
	spec.Network = n.network
	if spec.Network == "" && spec.GetBackend() != "sim" {
		spec.Network = "nat"
	}
	if n.egress != "allow" {
		spec.Egress = n.egress
	}
	spec.AutoPorts = n.autoPorts
	for _, text := range n.ports {
		p, err := parsePort(text)
		if err != nil {
			return err
		}
		spec.Ports = append(spec.Ports, p)
	}
	for _, text := range n.sockets {
		p, err := parseSocket(text, far)
		if err != nil {
			return err
		}
		spec.Ports = append(spec.Ports, p)
	}
	return nil
}

const portForm = "[ADDRESS:]HOST:GUEST[/udp], such as 8080:80, 127.0.0.1:5353:53/udp or 0:22"

// parsePort reads a port to forward. Without an address it is reached from this
// host only.
func parsePort(text string) (*wire.Port, error) {
	rest, protocol, has := strings.Cut(text, "/")
	if !has {
		protocol = "tcp"
	}
	bad := func() error {
		return badInput("port", "--port %q: %s", shorten(text, 80), portForm)
	}
	at := strings.LastIndex(rest, ":")
	if at < 0 || protocol != "tcp" && protocol != "udp" {
		return nil, bad()
	}
	host, guest := rest[:at], rest[at+1:]
	if !strings.Contains(host, ":") {
		host = "127.0.0.1:" + host
	}
	listen, err := netip.ParseAddrPort(host)
	if err != nil || !isPort(guest) {
		return nil, bad()
	}
	return &wire.Port{Protocol: protocol, Listen: listen.String(), To: guest}, nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// parseSocket reads a socket to forward. The host's may be relative.
func parseSocket(text string, far bool) (*wire.Port, error) {
	both, in := strings.CutSuffix(text, ":in")
	host, guest, ok := strings.Cut(both, ":")
	if !ok || host == "" || !filepath.IsAbs(guest) {
		return nil, badInput("socket", "--socket %q: HOST:GUEST[:in], two paths, that of the guest absolute", shorten(text, 80))
	}
	abs, err := hostPath(host, far)
	if err != nil {
		return nil, badInput("socket", "--socket %q: %v", shorten(text, 80), err)
	}
	return &wire.Port{Protocol: "unix", Listen: abs, To: filepath.Clean(guest), In: in}, nil
}

// portText is a forward as a person reads it.
func portText(p *wire.Port) string {
	text := p.GetListen() + " → " + p.GetTo()
	if p.GetIn() {
		text = p.GetListen() + " ← " + p.GetTo()
	}
	if p.GetProtocol() == "udp" {
		text += "/udp"
	}
	return text
}

// policy is where a machine may connect to.
func policy(m *wire.Machine) string { return cmp.Or(m.GetSpec().GetEgress(), "allow") }

// networkFacts are what inspect shows of a machine's network.
func networkFacts(m *wire.Machine) []fact {
	n := m.GetNetwork()
	if n == nil {
		return []fact{{"network", ifSet(m.GetSpec().GetBackend() != "sim", "none")}}
	}
	state := "linked"
	switch {
	case n.GetTrouble() != "":
		state = n.GetTrouble()
	case !n.GetLinked():
		state = "no link"
	}
	egress, why := policy(m), ""
	if now := n.GetEgress(); now != "" && now != egress {
		why = "not yet: " + now + " is in force"
	}
	facts := []fact{
		{"network", m.GetSpec().GetNetwork() + ", " + state},
		{"mac", n.GetMac()},
		{"lease", n.GetAddress()},
		{"names", strings.Join(n.GetNames(), " ")},
		{"egress", because(egress, why)},
		{"denied", number(int64(n.GetDenied()))}, //nolint:gosec // for people
	}
	for _, d := range n.GetDenials() {
		facts = append(facts, fact{"denied", d})
	}
	if m.GetSpec().GetAutoPorts() {
		facts = append(facts, fact{"auto ports", because("yes", n.GetAutoTrouble())})
	}
	for _, p := range n.GetPorts() {
		facts = append(facts, fact{"port", because(portText(p.GetPort())+ifSet(p.GetAutomatic(), " (automatic)"), p.GetError())})
	}
	return facts
}

// networkJSON is what a machine has of the network, in JSON.
type networkJSON struct {
	Mode    string     `json:"mode"`
	MAC     string     `json:"mac"`
	Address string     `json:"address"` // that it has for life
	Names   []string   `json:"names"`
	Egress  string     `json:"egress"`
	InForce string     `json:"egress_in_force,omitempty"` // "" = not known
	Linked  bool       `json:"linked"`
	Trouble string     `json:"trouble,omitempty"`
	Denied  uint64     `json:"denied"`
	Denials []string   `json:"denials,omitempty"`
	Ports   []portJSON `json:"ports,omitempty"`

	AutoPorts   bool   `json:"auto_ports,omitempty"`
	AutoTrouble string `json:"auto_trouble,omitempty"` // why not all that the guest listens at is in ports
}

type portJSON struct {
	Protocol  string `json:"protocol"`
	Listen    string `json:"listen"`
	To        string `json:"to"`
	In        bool   `json:"in,omitempty"`        // the guest's socket leads to the host's
	Automatic bool   `json:"automatic,omitempty"` // because the guest listens
	Error     string `json:"error,omitempty"`     // "" = it listens
}

func networkView(m *wire.Machine) *networkJSON {
	n := m.GetNetwork()
	if n == nil {
		return nil
	}
	out := &networkJSON{
		Mode: m.GetSpec().GetNetwork(), MAC: n.GetMac(), Address: n.GetAddress(), Names: n.GetNames(), Egress: policy(m), InForce: n.GetEgress(),
		Linked: n.GetLinked(), Trouble: n.GetTrouble(), Denied: n.GetDenied(), Denials: n.GetDenials(),
		AutoPorts: m.GetSpec().GetAutoPorts(), AutoTrouble: n.GetAutoTrouble(),
	}
	for _, p := range n.GetPorts() {
		out.Ports = append(out.Ports, portJSON{p.GetPort().GetProtocol(), p.GetPort().GetListen(), p.GetPort().GetTo(), p.GetPort().GetIn(), p.GetAutomatic(), p.GetError()})
	}
	return out
}
