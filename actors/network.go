package actors

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

// zone is the domain of the machines' names on the network.
const zone = "arcbox.internal"

// maxPorts is how many forwards a machine has at most.
const maxPorts = 64

// leases are the addresses that machines have. One is taken before created is
// appended, and free again when that fails or the machine is removed.
type leases struct {
	mu   sync.Mutex
	pool *lease.Pool
}

func newLeases() *leases { return &leases{pool: lease.NewPool()} }

// hold marks the address of a machine that the journal knows.
func (l *leases) hold(m fsm.Machine) {
	if m.Lease == nil {
		return
	}
	if a, err := netip.ParseAddr(m.Lease.Address); err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pool.Hold(m.ID, a)
	}
}

func (l *leases) take(id string) (*fsm.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.pool.Take(id)
	if err != nil {
		return nil, err
	}
	return &fsm.Lease{MAC: lease.MAC(id), Address: a.String()}, nil
}

func (l *leases) free(id string, was *fsm.Lease) {
	if was == nil {
		return
	}
	if a, err := netip.ParseAddr(was.Address); err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pool.Free(id, a)
	}
}

// lease takes an address for a machine that is about to be created.
func (m *machine) lease(s fsm.Spec) (*fsm.Lease, error) {
	if s.Network == fsm.NetworkNone {
		return nil, nil
	}
	if m.Networks == nil {
		return nil, refuse(wire.Code_CODE_LACKING, "arcbox create --network none", "network %q: this engine has none", s.Network)
	}
	got, err := m.leases.take(m.ref.ID)
	if errors.Is(err, lease.ErrExhausted) {
		return nil, refuse(wire.Code_CODE_LACKING, "arcbox rm NAME", "network: all addresses of %s are taken; a machine that is removed gives its own back", lease.Subnet)
	}
	return got, err
}

// checkNetwork takes what a spec says of the network.
func checkNetwork(s fsm.Spec, w *wire.Spec) (fsm.Spec, error) {
	switch w.GetNetwork() {
	case "", "none":
		s.Network = fsm.NetworkNone
	case fsm.NetworkNAT:
		s.Network = fsm.NetworkNAT
	default:
		return s, badInput("network", "network %q: nat or none", clip(w.GetNetwork(), 80))
	}
	if s.Network != fsm.NetworkNone && s.Backend == "sim" {
		return s, badInput("network", "network %q: a sim has none", s.Network)
	}
	s.Egress = w.GetEgress()
	if s.Egress == egress.Allow {
		s.Egress = ""
	}
	if s.AutoPorts = w.GetAutoPorts(); s.Network == fsm.NetworkNone && (s.Egress != "" || len(w.GetPorts()) > 0 || s.AutoPorts) {
		return s, badInput("network", "egress and ports need a network: network nat")
	}
	if _, err := egress.Parse(s.Egress); err != nil {
		return s, badInput("egress", "egress %v", err)
	}
	ports, err := checkPorts(w.GetPorts())
	s.Ports = ports
	return s, err
}

// checkPorts takes the forwards of a request, or says what is wrong with one.
func checkPorts(ws []*wire.Port) ([]fsm.Port, error) {
	if len(ws) > maxPorts {
		return nil, badInput("ports", "%d ports: at most %d", len(ws), maxPorts)
	}
	var ports []fsm.Port
	for _, w := range ws {
		p := fsm.Port{Protocol: w.GetProtocol(), Listen: w.GetListen(), To: w.GetTo(), In: w.GetIn()}
		if err := checkPort(p); err != nil {
			return nil, err
		}
		for _, other := range ports {
			if other.Protocol == p.Protocol && other.Listen == p.Listen && !strings.HasSuffix(p.Listen, ":0") {
				return nil, badInput("ports", "port %s %s: it is there twice", p.Protocol, p.Listen)
			}
			if other.In && p.In && other.To == p.To {
				return nil, badInput("ports", "socket %s of the guest: it is there twice", p.To)
			}
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// needsNetwork refuses ports for a machine that can have none.
func needsNetwork(s fsm.Spec) error {
	if s.Network == fsm.NetworkNone {
		return refuse(wire.Code_CODE_CONFLICT, "arcbox create --help", "ports need a network, and this machine has none")
	}
	return nil
}

// changedPorts is a spec with other forwards.
func changedPorts(s fsm.Spec, w *wire.SetMachine) (fsm.Spec, error) {
	if err := needsNetwork(s); err != nil {
		return s, err
	}
	var all []*wire.Port
	for _, p := range s.Ports {
		all = append(all, portOnWire(p))
	}
	for _, gone := range w.GetRemovePorts() {
		at := slices.IndexFunc(all, func(p *wire.Port) bool { return proto.Equal(p, gone) })
		if at < 0 {
			return s, refuse(wire.Code_CODE_NOT_FOUND, "arcbox port ls", "port %s %s: there is no such forward", clip(gone.GetProtocol(), 20), clip(gone.GetListen(), 80))
		}
		all = slices.Delete(all, at, at+1)
	}
	for _, more := range w.GetAddPorts() {
		if !slices.ContainsFunc(all, func(p *wire.Port) bool { return proto.Equal(p, more) }) {
			all = append(all, more)
		}
	}
	ports, err := checkPorts(all)
	s.Ports = ports
	return s, err
}

func checkPort(p fsm.Port) error {
	if p.In && p.Protocol != "unix" {
		return badInput("ports", "port %q: only a socket leads from the guest to the host", clip(p.Listen, 80))
	}
	switch p.Protocol {
	case "tcp", "udp":
		if _, err := netip.ParseAddrPort(p.Listen); err != nil {
			return badInput("ports", "port %q: an address and a port of the host, such as 127.0.0.1:8080", clip(p.Listen, 80))
		}
		if n, err := strconv.ParseUint(p.To, 10, 16); err != nil || n == 0 {
			return badInput("ports", "guest port %q: 1 to 65535", clip(p.To, 80))
		}
	case "unix":
		for _, path := range []string{p.Listen, p.To} {
			if !filepath.IsAbs(path) || len(path) > 103 || hasControl(path) || filepath.Clean(path) != path {
				return badInput("ports", "socket %q: a clean absolute path of at most 103 bytes", clip(path, 80))
			}
		}
	default:
		return badInput("ports", "protocol %q: tcp, udp or unix", clip(p.Protocol, 80))
	}
	return nil
}

// freePorts gives a port to each forward that leaves the choice. It is written
// down, so that it stays.
func (m *machine) freePorts(ports []fsm.Port) ([]fsm.Port, error) {
	ports = slices.Clone(ports) // they may be another spec's too
	for i, p := range ports {
		if p.Protocol == "unix" || !strings.HasSuffix(p.Listen, ":0") {
			continue
		}
		if m.FreePort == nil {
			return nil, badInput("ports", "port %q: this engine chooses none", p.Listen)
		}
		at, err := m.FreePort(p.Protocol, p.Listen)
		if err != nil {
			return nil, badInput("ports", "port %q: %v", p.Listen, err)
		}
		ports[i].Listen = at
	}
	return ports, nil
}

// wantNetwork tells the network what a machine needs of it in its state: a live
// VM a link and its forwards, any other nothing.
func (s *shared) wantNetwork(m fsm.Machine) {
	if s.Networks != nil && m.Lease != nil {
		s.Networks.Want(refOf(m), s.wish(m))
	}
}

// wish is what a machine needs of the network now; nil = nothing.
func (s *shared) wish(m fsm.Machine) *Wish {
	if s.Networks == nil || m.Lease == nil || !m.State.Live() || m.Launch == nil || m.Launch.LaunchedSeq == 0 {
		return nil
	}
	return &Wish{Egress: m.Spec.Egress, Ports: m.Spec.Ports, AutoPorts: m.Spec.AutoPorts}
}

// networkSaid is news of one machine's network.
type networkSaid struct {
	id    string
	state NetworkState
}

// NetworkSaid takes news of a machine's network.
func (e *Engine) NetworkSaid(id string, s NetworkState) { e.s.send(e.sup, networkSaid{id, s}) }

// linkGrace is how long a link may be away before it is said: a VM that ends loses
// its link first.
const linkGrace = 2 * time.Second

// linkLate is the result of that wait.
type linkLate struct{}

// networkSaid makes what is wrong with the network a matter of the machine's
// health, once it is usable.
func (m *machine) networkSaid(st NetworkState) {
	if m.unseen { // it is asked for again when the VM host has answered
		return
	}
	m.obeyed()
	m.denied()
	switch {
	case st.Trouble != "":
		m.networkIs(st.Trouble)
	case st.Linked:
		m.networkIs("")
	case m.netWhy == "":
		s := m.shared
		m.runOdd("link", func(ctx context.Context, _ func(any)) any {
			sleep(ctx, s.Clock, linkGrace)
			return linkLate{}
		})
	}
}

// networkIsKnown takes what the network said while nobody had looked at the machine.
func (m *machine) networkIsKnown() {
	if m.wish(m.state()) == nil {
		return
	}
	if st, _ := m.Networks.Known(m.ref); st.Egress != "" || st.Trouble != "" { // else it has said nothing yet
		m.networkSaid(st)
	}
}

// linkIsLate: the time is over in which a link may be away.
func (m *machine) linkIsLate() {
	if m.state().Launch == nil {
		return
	}
	if st, ok := m.Networks.Known(m.ref); ok && !st.Linked && st.Trouble == "" && m.netWhy == "" {
		m.networkIs("its hypervisor has no link to the network")
	}
}

func (m *machine) networkIs(why string) {
	was := m.trouble()
	m.netWhy = why
	m.troubleWas(was)
}

// trouble is what is wrong beside the VM and its guest; "" = nothing.
func (m *machine) trouble() string {
	if m.netWhy != "" {
		return m.netWhy
	}
	return m.shareWhy()
}

// troubleWas makes what is wrong now a matter of the machine's health, where nothing
// worse is.
func (m *machine) troubleWas(was string) {
	if m.trouble() == was || m.unseen || !fsm.May(m.state().State, fsm.KindRebooted) {
		return
	}
	if h := m.latest(); h.Level == fsm.HealthOK || h.Why == was {
		m.well()
	}
}

func portOnWire(p fsm.Port) *wire.Port {
	return &wire.Port{Protocol: p.Protocol, Listen: p.Listen, To: p.To, In: p.In}
}

// networkOnWire is what a machine has on the network; nil = nothing.
func networkOnWire(s *shared, m fsm.Machine) *wire.Network {
	if m.Lease == nil {
		return nil
	}
	out := &wire.Network{Mac: m.Lease.MAC, Address: m.Lease.Address, Names: []string{nameKey(m.Name) + "." + zone}}
	if s.Networks == nil {
		return out
	}
	st, _ := s.Networks.Known(refOf(m))
	out.Linked, out.Trouble, out.Denied = st.Linked, st.Trouble, st.Denied
	for _, d := range st.Denials {
		out.Denials = append(out.Denials, d.String())
	}
	out.Egress = st.Egress
	for _, p := range m.Spec.Ports {
		out.Ports = append(out.Ports, &wire.PortState{Port: portOnWire(p), Error: portError(m, p, st)})
	}
	if m.Spec.AutoPorts {
		out.Ports, out.AutoTrouble = append(out.Ports, autoPorts(m, st)...), autoTrouble(m, st)
	}
	return out
}

// autoPorts are the forwards of what a machine's guest listens at.
func autoPorts(m fsm.Machine, st NetworkState) (out []*wire.PortState) {
	for _, x := range st.Ports {
		if !x.Auto {
			continue
		}
		w := &wire.PortState{Port: portOnWire(x.Port), Automatic: true, Error: x.Error}
		if x.Error != "" && x.Error != notYet {
			w.Error += ": arcbox port add " + m.Name + " 0:" + x.To[strings.LastIndex(x.To, ":")+1:] + " takes a port that is free"
		}
		out = append(out, w)
	}
	return out
}

// autoTrouble says why there may be more that it listens at; "" = there is not.
func autoTrouble(m fsm.Machine, st NetworkState) string {
	if !m.State.Live() {
		return ""
	}
	return or(st.Trouble, st.AutoTrouble)
}

// notYet is the state of a forward that nobody has tried to have.
const notYet = "not yet"

// portError says why a forward does not listen.
func portError(m fsm.Machine, p fsm.Port, st NetworkState) string {
	for _, x := range st.Ports {
		if x.Port == p && !x.Auto {
			return x.Error
		}
	}
	if st.Trouble != "" {
		return st.Trouble
	}
	if m.State.Live() {
		return notYet
	}
	return "the machine is " + string(m.State)
}
