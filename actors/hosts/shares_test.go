package hosts

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// What the VM host gets of a spec's shares, and what its guest is told: Rosetta is
// one more, the last, with the modules that shares need.
func TestWithShares(t *testing.T) {
	two := []fsm.Share{{Host: "/a", Guest: "/mnt/a"}, {Host: "/b", Guest: "/mnt/b", Writable: true}}
	shares := []hv.Share{{Tag: "share1", Path: "/a"}, {Tag: "share2", Path: "/b", Writable: true}}
	told := []guestwire.Share{{Tag: "share1", On: "/mnt/a"}, {Tag: "share2", On: "/mnt/b", Writable: true}}
	rosetta := guestwire.Share{Tag: "rosetta", On: "/run/arcbox/rosetta", Rosetta: true}
	for name, c := range map[string]struct {
		spec    fsm.Spec
		version int
		shares  []hv.Share
		told    []guestwire.Share
		tags    []string
	}{
		"none":    {fsm.Spec{}, hv.SpecVersion, nil, nil, nil},
		"shares":  {fsm.Spec{Shares: two}, hv.SpecVersionShares, shares, told, []string{"share1", "share2"}},
		"rosetta": {fsm.Spec{Rosetta: true}, hv.SpecVersionRosetta, nil, []guestwire.Share{rosetta}, []string{"rosetta"}},
		"both":    {fsm.Spec{Shares: two, Rosetta: true}, hv.SpecVersionRosetta, shares, append(slices.Clone(told), rosetta), []string{"share1", "share2", "rosetta"}},
	} {
		s := hv.Spec{Version: hv.SpecVersion}
		secrets, err := withShares(&s, c.spec)
		if err != nil {
			t.Fatal(err)
		}
		var got []guestwire.Share
		for _, secret := range secrets {
			if secret.Name != guestwire.SharesSecret || json.Unmarshal(secret.Data, &got) != nil {
				t.Errorf("%s: %+v", name, secret)
			}
		}
		if diff := cmp.Diff(c.told, got); diff != "" {
			t.Errorf("%s, what the guest is told: -want +got:\n%s", name, diff)
		}
		if diff := cmp.Diff(c.shares, s.Shares); diff != "" || s.Version != c.version || s.Rosetta != c.spec.Rosetta {
			t.Errorf("%s: version %d, rosetta %v, %s", name, s.Version, s.Rosetta, diff)
		}
		if got := tagsOf(c.spec); !slices.Equal(got, c.tags) {
			t.Errorf("%s: tags %v", name, got)
		}
		b := booted{}
		b.Initrd, b.Share = "/i", "/s"
		if got := b.initrds(c.spec); (len(got) == 2) != (len(c.tags) > 0) {
			t.Errorf("%s: initramfs %v", name, got)
		}
	}
}
