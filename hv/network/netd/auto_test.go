package netd

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
)

func TestForwardsOf(t *testing.T) {
	got := forwardsOf([]guest.Listener{{Port: 80}, {Port: 53, Addr: netip.MustParseAddr("172.17.0.1")}, {Port: 65535, Addr: netip.MustParseAddr("fd00::1")}})
	want := []api.Forward{
		{Protocol: "tcp", Listen: "127.0.0.1:80", To: "80", Auto: true},
		{Protocol: "tcp", Listen: "127.0.0.1:53", To: "172.17.0.1:53", Auto: true},
		{Protocol: "tcp", Listen: "127.0.0.1:65535", To: "[fd00::1]:65535", Auto: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// What an engine has said goes before what a guest listens at.
func TestWanted(t *testing.T) {
	said := []api.Forward{
		{Protocol: "tcp", Listen: "0.0.0.0:8080", To: "80"}, {Protocol: "udp", Listen: "127.0.0.1:53", To: "53"}, {Protocol: "unix", Listen: "/a", To: "/b"},
	}
	heard := forwardsOf([]guest.Listener{{Port: 80}, {Port: 8080}, {Port: 53}, {Port: 22}})
	a := &attached{said: said, heard: heard}
	want, barred := a.wanted()
	if !slices.Equal(want, append(slices.Clone(said), heard[2], heard[3])) || !slices.Equal(barred, heard[1:2]) {
		t.Errorf("%v, barred %v", want, barred)
	}
}

// What a guest says counts only for as long as somebody wants to know it.
func TestNobodyWantsToKnow(t *testing.T) {
	d := testDaemon(t)
	m := testMachine(t, "a")
	m.AutoPorts = true
	if err := d.set(*m); err != nil {
		t.Fatal(err)
	}
	a := d.machines["a"]
	if _, why := a.forwards(); why == "" {
		t.Error("a guest that said nothing has no trouble")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.learn(ctx, func() { t.Error("it is learnt all the same") })
	m.AutoPorts = false
	if err := d.set(*m); err != nil {
		t.Fatal(err)
	}
	if all, why := a.forwards(); why != "" || len(all) != 0 {
		t.Errorf("%v, %q", all, why)
	}
	m.Forwards = []api.Forward{{Protocol: "tcp", Listen: "127.0.0.1:1", To: "1", Auto: true}}
	if err := d.set(*m); err == nil || !strings.Contains(err.Error(), "automatic") {
		t.Errorf("an engine's automatic forward: %v", err)
	}
}
