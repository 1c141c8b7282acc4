package hosts

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/hv"
	netapi "github.com/arcboxlabs/arcbox-engine/hv/network/api"
	netclient "github.com/arcboxlabs/arcbox-engine/hv/network/client"
	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// netMTU is every interface's (package hv/network), and netZone the domain of
// the machines' names.
const (
	netMTU  = 65520
	netZone = "arcbox.internal"
)

// Network is the engine's network. It implements actors.Networks.
type Network struct {
	w *World
	*netclient.Network
}

var _ actors.Networks = (*Network)(nil)

// NewNetwork makes the network of a world; said hears of every change. It starts
// nothing before Run.
func (w *World) NewNetwork(dir string, said func(id string, s actors.NetworkState)) *Network {
	return &Network{w, netclient.New(netclient.Options{
		Bin: w.Netd, Dir: dir, RunDir: filepath.Join(w.Run, "n"), Log: w.Logger,
		Changed: func(id string, s netclient.State) { said(id, networkState(s)) },
	})}
}

// Want implements actors.Networks.
func (n *Network) Want(ref actors.Ref, wish *actors.Wish) {
	if wish == nil {
		n.Drop(ref.ID)
		return
	}
	run := n.w.place(ref).RunDir
	m := netapi.Machine{
		ID: ref.ID, Name: ref.Name, MAC: ref.MAC, Address: ref.Address, Egress: wish.Egress, AutoPorts: wish.AutoPorts,
		Link: filepath.Join(run, api.LinkSocket), Host: run,
	}
	for _, p := range wish.Ports {
		m.Forwards = append(m.Forwards, netapi.Forward{Protocol: p.Protocol, Listen: p.Listen, To: p.To, In: p.In})
	}
	n.Set(m)
}

// Known implements actors.Networks.
func (n *Network) Known(ref actors.Ref) (actors.NetworkState, bool) {
	s, ok := n.State(ref.ID)
	return networkState(s), ok
}

func networkState(s netclient.State) actors.NetworkState {
	out := actors.NetworkState{Linked: s.Linked, Trouble: s.Trouble, Denied: s.Denied, Egress: s.Egress, AutoTrouble: s.AutoTrouble}
	for _, text := range s.Denials {
		if protocol, to, ok := cutLast(text, " "); ok {
			out.Denials = append(out.Denials, fsm.Denial{Protocol: clean(protocol), To: clean(to)})
		}
	}
	for _, f := range s.Forwards {
		out.Ports = append(out.Ports, actors.PortState{
			Port: fsm.Port{Protocol: f.Protocol, Listen: f.Listen, To: f.To, In: f.In}, Auto: f.Auto, Error: f.Error,
		})
	}
	return out
}

// cutLast is strings.Cut at the last sep: a protocol's name may have a space, a place
// has none.
func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// withNIC gives the VM its network interface. Its name stays eth0, whatever an
// image would call it: it has its address before the image's init begins.
func withNIC(s *hv.Spec, ref actors.Ref) {
	if ref.MAC == "" {
		return
	}
	s.Version = max(s.Version, hv.SpecVersionNIC)
	s.NIC = &hv.NIC{MAC: ref.MAC, MTU: netMTU, Socket: filepath.Join(s.RunDir, api.LinkSocket)}
}

// netWords are the words of the kernel's command line by which the guest knows
// its address.
func netWords(ref actors.Ref) []string {
	if ref.MAC == "" {
		return nil
	}
	return []string{"net.ifnames=0", "arcbox.net=" + strings.Join([]string{
		ref.MAC, fmt.Sprintf("%s/%d", ref.Address, lease.Subnet.Bits()), lease.Gateway.String(), netZone,
	}, ",")}
}

// addressTime is how long one question for the address waits in the guest.
const addressTime = 10 * time.Second

// address waits for the guest's address. An agent that can't be asked has
// nothing to wait for.
func (w *World) address(ctx context.Context, ref actors.Ref) (string, error) {
	for {
		switch a, err := w.askAddress(ctx, ref); {
		case a != "":
			return a, nil
		case ctx.Err() != nil:
			return "", fmt.Errorf("its interface %s has no address; does its kernel have virtio_net? (create --network none): %w", ref.MAC, ctx.Err())
		case err != nil:
			return "", fmt.Errorf("address: %w", err)
		}
	}
}

// askAddress asks once. It takes its time where there is none, whatever the guest
// does: one that answers at once would be asked without end.
func (w *World) askAddress(ctx context.Context, ref actors.Ref) (string, error) {
	asked, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	c, err := guest.Connect(ctx, w.dialer(ref))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	a, err := c.Address(ctx, ref.MAC, addressTime)
	if a == "" && err == nil {
		<-asked.Done()
	}
	return a, err
}
