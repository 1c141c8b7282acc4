package actors

import (
	"fmt"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestCheckShares(t *testing.T) {
	many := func(n int) (out []*wire.Share) {
		for i := range n {
			out = append(out, &wire.Share{Host: "/src", Guest: fmt.Sprintf("/mnt/%d", i)})
		}
		return out
	}
	for _, c := range []struct {
		shares []*wire.Share
		says   string // "" = good
	}{
		{nil, ""},
		{many(hv.MaxShares), ""},
		{many(hv.MaxShares + 1), "13 of them, at most 12"},
		{[]*wire.Share{{Host: "/a", Guest: "/devices"}, {Host: "/a", Guest: "/run2/x", Writable: true}}, ""},
		{[]*wire.Share{{Host: "a", Guest: "/mnt"}}, "of the host"},
		{[]*wire.Share{{Host: "/a/../b", Guest: "/mnt"}}, "of the host"},
		{[]*wire.Share{{Host: "/a\n", Guest: "/mnt"}}, "of the host"},
		{[]*wire.Share{{Host: "/a", Guest: "mnt"}}, "of the guest"},
		{[]*wire.Share{{Host: "/a", Guest: "/mnt/"}}, "of the guest"},
		{[]*wire.Share{{Host: "/a", Guest: "/"}}, "not in /dev"},
		{[]*wire.Share{{Host: "/a", Guest: "/proc"}}, "not in /dev"},
		{[]*wire.Share{{Host: "/a", Guest: "/sys/kernel"}}, "not in /dev"},
		{[]*wire.Share{{Host: "/a", Guest: "/mnt"}, {Host: "/b", Guest: "/mnt"}}, "two of them"},
	} {
		got, err := checkShares(c.shares)
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.shares, err, c.says)
		}
		if err == nil && len(got) != len(c.shares) {
			t.Errorf("%v became %v", c.shares, got)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"/home/u", "/home/u", true}, {"/home/u/src", "/home/u", true}, {"/", "/home/u", true}, {"/home/u", "/", true},
		{"/home/u2", "/home/u", false}, {"/home", "/srv", false},
	} {
		if got := Overlap(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %t", c.a, c.b, got)
		}
	}
}

// What a backend does not have is refused by name, Rosetta first: never dropped.
func TestBackendsRefuseByName(t *testing.T) {
	mac, linux := Limits{CPUs: 8, Memory: 16 << 30, Backends: []string{"vz"}}, Limits{CPUs: 8, Memory: 16 << 30}
	for _, c := range []struct {
		l    Limits
		spec *wire.Spec
		says string // "" = good
	}{
		{mac, &wire.Spec{}, ""},
		{mac, &wire.Spec{Rosetta: true, Shares: []*wire.Share{{Host: "/Users/me", Guest: "/src"}}}, ""},
		{mac, &wire.Spec{Backend: "vz", Accel: "auto", Network: "nat"}, ""},
		{Limits{CPUs: 8, Memory: 16 << 30, Backends: []string{"vz"}, Arch: "amd64"}, &wire.Spec{Rosetta: true}, "rosetta: an amd64 machine needs none"},
		{mac, &wire.Spec{Backend: "qemu"}, "backend qemu: Linux only, this host has vz"},
		{mac, &wire.Spec{Accel: "kvm"}, `accel "kvm": backend vz`},
		{mac, &wire.Spec{Board: "q35"}, `machine "q35": only for backend qemu`},
		{mac, &wire.Spec{Backend: "sim", Rosetta: true}, "rosetta: backend sim has none"},
		{linux, &wire.Spec{}, ""},
		{linux, &wire.Spec{Rosetta: true}, "rosetta: backend qemu has none"},
		{linux, &wire.Spec{Backend: "vz"}, "backend vz: macOS only, this host has qemu"},
		{linux, &wire.Spec{Backend: "hvf"}, "qemu, vz or sim"},
	} {
		c.spec.Cpus, c.spec.Memory = 1, 1<<30
		s, err := checkSpec(c.spec, c.l, true)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.spec, err, c.says)
		}
		if err == nil && (s.Backend != c.l.backends()[0] || s.Rosetta != c.spec.GetRosetta() || specOnWire(s).GetRosetta() != s.Rosetta) {
			t.Errorf("%v became %+v", c.spec, s)
		}
	}
	spec := fsm.Spec{Shares: []fsm.Share{{Guest: "/src"}}, Rosetta: true}
	if got := shareNames(spec); fmt.Sprint(got) != "[/src rosetta]" {
		t.Errorf("%v", got)
	}
}
