package actorstest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
)

// netd is a scripted network process, which outlives engines, and what the engine
// of the day knows of it.
type netd struct {
	lost    bool             // it does not live, and no other comes
	holds   map[string]*held // by machine id: what it was told
	cut     map[string]bool  // machines whose hypervisor it can't reach
	said    func(string, actors.NetworkState)
	wanted  map[string]wanted // by machine id, of the engine
	telling map[string]bool   // it is being told
	trouble string            // as the engine sees it
	heard   map[string]actors.NetworkState
}

// held is what a network process knows of a machine.
type held struct {
	wish    actors.Wish
	policy  string
	denied  uint64
	denials []fsm.Denial
}

type wanted struct {
	ref  actors.Ref
	wish actors.Wish
}

var _ actors.Networks = (*World)(nil)

func newNetd() netd {
	return netd{
		holds: map[string]*held{}, cut: map[string]bool{}, said: func(string, actors.NetworkState) {},
		wanted: map[string]wanted{}, telling: map[string]bool{}, heard: map[string]actors.NetworkState{},
	}
}

// clone is the process as the next engine finds it.
func (n *netd) clone() netd {
	o := newNetd()
	o.lost = n.lost
	maps.Copy(o.cut, n.cut)
	for id, h := range n.holds {
		copied := *h
		copied.denials = slices.Clone(h.denials)
		o.holds[id] = &copied
	}
	return o
}

// networkNews has the engine hear of its network.
func (w *World) networkNews(said func(string, actors.NetworkState)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.net.said = said
	for id := range w.net.holds {
		if _, ok := w.net.wanted[id]; !ok { // it was told of all, once
			delete(w.net.holds, id)
		}
	}
	if w.net.lost { // it looks for one, and finds that none can be had
		w.net.trouble = "its network process can't be had: it ended before its hello"
		w.allHear()
	}
}

// allHear has the engine hear of all machines. w.mu is held.
func (w *World) allHear() {
	for _, id := range slices.Sorted(maps.Keys(w.net.wanted)) {
		w.netdSays(id)
	}
}

// Want implements actors.Networks.
func (w *World) Want(ref actors.Ref, wish *actors.Wish) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := &w.net
	old, had := n.wanted[ref.ID]
	switch {
	case wish == nil && !had, wish != nil && had && old.wish.Egress == wish.Egress && slices.Equal(old.wish.Ports, wish.Ports) && old.wish.AutoPorts == wish.AutoPorts:
		return
	case wish == nil:
		delete(n.wanted, ref.ID)
		delete(n.heard, ref.ID)
	default:
		n.wanted[ref.ID] = wanted{ref, *wish}
		if s, ok := n.heard[ref.ID]; ok {
			s.Egress = ""
			n.heard[ref.ID] = s
		}
	}
	w.tellNetd(ref)
}

// tellNetd tells the process, when its gate lets it, what is wanted by then. w.mu is held.
func (w *World) tellNetd(ref actors.Ref) {
	if w.net.telling[ref.ID] {
		return
	}
	w.net.telling[ref.ID] = true
	go func() {
		_ = w.Gates.Wait(context.Background(), ref.Name+" network")
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.net.telling, ref.ID)
		if w.net.lost {
			return // whoever comes in its place is told of all
		}
		now, ok := w.net.wanted[ref.ID]
		if !ok {
			delete(w.net.holds, ref.ID)
			return
		}
		h := w.net.holds[ref.ID]
		if h == nil {
			h = &held{}
			w.net.holds[ref.ID] = h
		}
		h.wish = now.wish
		if policy := cmp.Or(now.wish.Egress, egress.Allow); policy != h.policy {
			h.policy, h.denials = policy, nil
		}
		w.netdSays(ref.ID)
	}()
}

// netdSays has the engine hear how a machine does on the network. w.mu is held.
func (w *World) netdSays(id string) {
	n := &w.net
	if _, ok := n.wanted[id]; !ok {
		return
	}
	s := actors.NetworkState{}
	if h := n.holds[id]; h != nil && !n.lost {
		p := w.places[id]
		s = actors.NetworkState{
			Linked: p != nil && p.vm != nil && !n.cut[p.name], Egress: h.policy, Denied: h.denied, Denials: slices.Clone(h.denials),
			Ports: w.forwards(h, p),
		}
	}
	n.heard[id] = s
	s.Trouble = n.trouble
	n.said(id, s)
}

// forwards are those of a machine, all of which listen; what a guest listens at has one
// where that is wanted. w.mu is held.
func (w *World) forwards(h *held, p *place) (out []actors.PortState) {
	for _, port := range h.wish.Ports {
		out = append(out, actors.PortState{Port: port})
	}
	if h.wish.AutoPorts && p != nil && p.vm != nil && p.vm.Serves {
		out = append(out, actors.PortState{Port: fsm.Port{Protocol: "tcp", Listen: "127.0.0.1:8080", To: "8080"}, Auto: true})
	}
	return out
}

// portsInWords are a machine's forwards.
func portsInWords(m *wire.Machine) string {
	var out []string
	for _, p := range m.GetNetwork().GetPorts() {
		state := cmp.Or(p.GetError(), "listens")
		if p.GetAutomatic() {
			state = "automatic, " + state
		}
		out = append(out, fmt.Sprintf("%s to %s %s", p.GetPort().GetListen(), p.GetPort().GetTo(), state))
	}
	return cmp.Or(strings.Join(out, "; "), "none")
}

// Known implements actors.Networks.
func (w *World) Known(ref actors.Ref) (actors.NetworkState, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.net.wanted[ref.ID]; !ok {
		return actors.NetworkState{}, false
	}
	s := w.net.heard[ref.ID]
	s.Trouble = w.net.trouble
	return s, true
}

// LoseNetwork kills the network process, so that whoever is in its place knows
// nothing; BringNetwork starts another.
func (w *World) LoseNetwork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.net.lost, w.net.trouble = true, "its network process ended; another is started"
	clear(w.net.holds)
	w.allHear()
}

// BringNetwork starts a network process where there is none.
func (w *World) BringNetwork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.net.lost, w.net.trouble = false, ""
	for _, id := range slices.Sorted(maps.Keys(w.net.wanted)) {
		w.tellNetd(w.net.wanted[id].ref)
	}
}

// Cut takes the network's link to a machine's hypervisor away, or gives it back.
func (w *World) Cut(name string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.net.cut[name] = cut
	w.linkChanged(name)
}

// linkChanged has the engine hear of it. w.mu is held.
func (w *World) linkChanged(name string) {
	for id, p := range w.places {
		if p.name == name {
			w.netdSays(id)
		}
	}
}

// unobeyed says which machine is not held to its policy, by an engine at rest.
func (w *World) unobeyed(machines []*actors.Seen) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := 0
	for _, m := range machines {
		if w.net.lost || m.Lease == nil || !m.State.Live() {
			continue
		}
		live++
		if h := w.net.holds[m.ID]; h == nil || h.policy != cmp.Or(m.Spec.Egress, egress.Allow) {
			return fmt.Errorf("%s is to be held to %q, it is to %+v", m.Name, m.Spec.Egress, h)
		}
	}
	if len(w.net.holds) > live {
		return fmt.Errorf("%d machines run, and the network has %d", live, len(w.net.holds))
	}
	return nil
}

// Deny has a machine's guest try to reach places that its policy denies; of those
// that one network process keeps there are twice as many as are recorded.
func (w *World) Deny(name string, places ...fsm.Denial) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, h := range w.net.holds {
		if w.places[id].name != name {
			continue
		}
		for _, d := range places {
			if h.denied++; len(h.denials) < 2*fsm.MaxDenials && !slices.Contains(h.denials, d) {
				h.denials = append(h.denials, d)
			}
		}
		w.netdSays(id)
	}
}

// policies is what the network process holds machines to, in words.
func (w *World) policies() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for id, h := range w.net.holds {
		out = append(out, w.places[id].name+": "+h.policy)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
