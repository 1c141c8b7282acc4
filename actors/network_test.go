package actors

import (
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

func TestCheckNetwork(t *testing.T) {
	tcp := func(listen, to string) *wire.Port { return &wire.Port{Protocol: "tcp", Listen: listen, To: to} }
	for name, test := range map[string]struct {
		spec    *wire.Spec
		backend string
		bad     string // part of the refusal; "" = none
	}{
		"nothing":           {spec: &wire.Spec{}},
		"none":              {spec: &wire.Spec{Network: "none"}},
		"nat":               {spec: &wire.Spec{Network: "nat", Egress: "10.0.0.0/8:443,dns", Ports: []*wire.Port{tcp("127.0.0.1:80", "80"), tcp("127.0.0.1:0", "80"), tcp("127.0.0.1:0", "81")}}},
		"bridge":            {spec: &wire.Spec{Network: "bridge"}, bad: "nat or none"},
		"sim":               {spec: &wire.Spec{Network: "nat"}, backend: "sim", bad: "a sim has none"},
		"ports without":     {spec: &wire.Spec{Ports: []*wire.Port{tcp("127.0.0.1:80", "80")}}, bad: "need a network"},
		"a socket inwards":  {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Protocol: "unix", Listen: "/a", To: "/b", In: true}}}},
		"a port inwards":    {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Protocol: "tcp", Listen: "127.0.0.1:80", To: "80", In: true}}}, bad: "only a socket"},
		"twice inwards":     {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Protocol: "unix", Listen: "/a", To: "/b", In: true}, {Protocol: "unix", Listen: "/c", To: "/b", In: true}}}, bad: "of the guest: it is there twice"},
		"auto ports":        {spec: &wire.Spec{Network: "nat", AutoPorts: true}},
		"auto without":      {spec: &wire.Spec{AutoPorts: true}, bad: "need a network"},
		"egress without":    {spec: &wire.Spec{Egress: "deny"}, bad: "need a network"},
		"bad egress":        {spec: &wire.Spec{Network: "nat", Egress: "everywhere"}, bad: "CIDR[:PORT]"},
		"twice":             {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{tcp("127.0.0.1:80", "80"), tcp("127.0.0.1:80", "81")}}, bad: "there twice"},
		"a name":            {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{tcp("localhost:80", "80")}}, bad: "an address and a port"},
		"no guest's port":   {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{tcp("127.0.0.1:80", "0")}}, bad: "1 to 65535"},
		"no protocol":       {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Listen: "127.0.0.1:80", To: "80"}}}, bad: "tcp, udp or unix"},
		"a relative socket": {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Protocol: "unix", Listen: "a", To: "/b"}}}, bad: "absolute"},
		"a socket upwards":  {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Protocol: "unix", Listen: "/a/../b", To: "/b"}}}, bad: "clean"},
		"a long socket":     {spec: &wire.Spec{Network: "nat", Ports: []*wire.Port{{Protocol: "unix", Listen: "/" + strings.Repeat("a", 200), To: "/b"}}}, bad: "103"},
		"more than may be":  {spec: &wire.Spec{Network: "nat", Ports: make([]*wire.Port, maxPorts+1)}, bad: "at most 64"},
	} {
		_, err := checkNetwork(fsm.Spec{Backend: or(test.backend, "qemu")}, test.spec)
		if (err != nil) != (test.bad != "") || err != nil && !strings.Contains(err.Error(), test.bad) {
			t.Errorf("%s: %v, want %q", name, err, test.bad)
		}
	}
}

func TestLeases(t *testing.T) {
	l := newLeases()
	a, err := l.take("a")
	if err != nil {
		t.Fatal(err)
	}
	again := newLeases() // of the next engine
	again.hold(fsm.Machine{ID: "b", Lease: a})
	b, err := again.take("a")
	if err != nil || b.Address == a.Address || b.MAC != a.MAC {
		t.Errorf("%+v, %v, while %+v is another's", b, err, a)
	}
	again.free("a", a) // not its own
	if c, _ := again.take("c"); c.Address == a.Address {
		t.Error("somebody else's address was given back")
	}
	l.free("a", a)
	if c, _ := l.take("a"); c == nil || *c != *a {
		t.Errorf("%+v, before it was %+v", c, a)
	}
	l.free("x", nil)
}

func TestChangedPorts(t *testing.T) {
	a, b := fsm.Port{Protocol: "tcp", Listen: "127.0.0.1:80", To: "80"}, fsm.Port{Protocol: "udp", Listen: "127.0.0.1:80", To: "53"}
	had := fsm.Spec{Network: fsm.NetworkNAT, Ports: []fsm.Port{a}}
	for name, test := range map[string]struct {
		spec      fsm.Spec
		add, gone []fsm.Port
		want      []fsm.Port
		bad       string
	}{
		"add":        {spec: had, add: []fsm.Port{b}, want: []fsm.Port{a, b}},
		"again":      {spec: had, add: []fsm.Port{a}, want: []fsm.Port{a}},
		"remove":     {spec: had, gone: []fsm.Port{a}},
		"replace":    {spec: had, gone: []fsm.Port{a}, add: []fsm.Port{b}, want: []fsm.Port{b}},
		"none such":  {spec: had, gone: []fsm.Port{b}, bad: "no such forward"},
		"taken":      {spec: had, add: []fsm.Port{{Protocol: "tcp", Listen: a.Listen, To: "81"}}, bad: "twice"},
		"no network": {add: []fsm.Port{b}, bad: "has none"},
	} {
		w := &wire.SetMachine{}
		for _, p := range test.add {
			w.AddPorts = append(w.AddPorts, portOnWire(p))
		}
		for _, p := range test.gone {
			w.RemovePorts = append(w.RemovePorts, portOnWire(p))
		}
		s, err := changedPorts(test.spec, w)
		switch {
		case (err != nil) != (test.bad != "") || err != nil && !strings.Contains(err.Error(), test.bad):
			t.Errorf("%s: %v, want %q", name, err, test.bad)
		case err == nil && !slices.Equal(s.Ports, test.want):
			t.Errorf("%s: %v", name, s.Ports)
		}
	}
	on, l := true, Limits{CPUs: 1, Memory: MinMemory}
	if s, err := changed(fsm.Machine{Spec: had}, &wire.SetMachine{AutoPorts: &on}, l); err != nil || !s.AutoPorts {
		t.Errorf("automatic ports: %+v, %v", s, err)
	}
	if _, err := changed(fsm.Machine{}, &wire.SetMachine{AutoPorts: &on}, l); err == nil || !strings.Contains(err.Error(), "has none") {
		t.Errorf("automatic ports without a network: %v", err)
	}
	if len(had.Ports) != 1 || had.Ports[0] != a {
		t.Errorf("the old spec has changed: %v", had.Ports)
	}
}

// TestAutoPorts: what a guest listens at is shown beside what was asked for, with the
// way out where a port of the host is taken; without the wish, nothing of it is.
func TestAutoPorts(t *testing.T) {
	tcp := func(port string) fsm.Port { return fsm.Port{Protocol: "tcp", Listen: "127.0.0.1:" + port, To: port} }
	own := tcp("80")
	m := fsm.Machine{ID: "a", Name: "web", State: fsm.Running, Lease: &fsm.Lease{}, Spec: fsm.Spec{Network: fsm.NetworkNAT, Ports: []fsm.Port{own}}}
	st := NetworkState{Linked: true, AutoTrouble: "why", Ports: []PortState{
		{Port: own, Auto: true, Error: "not of this one"}, {Port: own}, {Port: tcp("81"), Auto: true},
		{Port: fsm.Port{Protocol: "tcp", Listen: "127.0.0.1:53", To: "[fd00::1]:53"}, Auto: true, Error: "taken"}, {Port: tcp("82"), Auto: true, Error: notYet},
	}}
	s := &shared{Options: Options{Networks: known{st}}}
	if n := networkOnWire(s, m); len(n.GetPorts()) != 1 || n.GetPorts()[0].GetError() != "" || n.GetAutoTrouble() != "" {
		t.Errorf("nobody wants them: %v", n)
	}
	m.Spec.AutoPorts = true
	n := networkOnWire(s, m)
	var got []string
	for _, p := range n.GetPorts() {
		got = append(got, strings.TrimSpace(p.GetPort().GetTo()+" "+p.GetError()))
	}
	remedy := func(port string) string { return ": arcbox port add web 0:" + port + " takes a port that is free" }
	want := []string{"80", "80 not of this one" + remedy("80"), "81", "[fd00::1]:53 taken" + remedy("53"), "82 not yet"}
	if !slices.Equal(got, want) || n.GetAutoTrouble() != "why" || n.GetPorts()[0].GetAutomatic() || !n.GetPorts()[1].GetAutomatic() {
		t.Errorf("%q, want %q: %v", got, want, n)
	}
	if st.Trouble = "no network"; networkOnWire(&shared{Options: Options{Networks: known{st}}}, m).GetAutoTrouble() != "no network" {
		t.Error("the network's trouble is not told")
	}
	if m.State = fsm.Stopped; networkOnWire(s, m).GetAutoTrouble() != "" {
		t.Error("a machine that is stopped has trouble")
	}
}

// known is a network that says the same of every machine.
type known struct{ st NetworkState }

func (known) Want(Ref, *Wish)                  {}
func (k known) Known(Ref) (NetworkState, bool) { return k.st, true }
