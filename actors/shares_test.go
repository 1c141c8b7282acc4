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
		got, err := checkShares(fsm.Spec{}, c.shares)
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
