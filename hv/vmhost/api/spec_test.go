package api_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// specs are what engines of some day gave to VM hosts, as testdata/specs.txt has
// it: two lines each, a spec and its digest. An engine that was not restarted yet
// launches VM hosts of the build that replaced it. Only new ones are added, behind
// these.
func specs() []hv.Spec {
	bare := spec()
	full := spec()
	full.AccelCache, full.Board, full.BoardAccel, full.TSCKHz = "/a", hv.BoardMicroVM, hv.AccelTCG, 2000000
	full.Version = hv.SpecVersionShares
	full.Disks = []hv.Disk{{Path: "/img", ReadOnly: true, Serial: "root"}, {Path: "/dev/sdz", Device: true, Serial: "block1"}}
	full.NIC = &hv.NIC{MAC: "02:00:00:00:00:01", MTU: 1500, Socket: "/r/n.sock"}
	full.Shares = []hv.Share{{Tag: "share1", Path: "/src", Writable: true}, {Tag: "share2", Path: "/data"}}
	saved := spec()
	saved.Version, saved.Vsock, saved.Saved = hv.SpecVersionSaved, hv.VsockKernel, "/d/saved"
	return []hv.Spec{bare, full, saved}
}

func TestRecordedSpecs(t *testing.T) {
	const path = "testdata/specs.txt"
	if *update {
		var all []byte
		for _, s := range specs() {
			sealed, err := api.EncodeSpec(s)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, sealed...)
		}
		if err := os.WriteFile(path, all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	want := specs()
	if len(lines) != 2*len(want)+1 {
		t.Fatalf("%d lines, want two of each of %d specs", len(lines)-1, len(want))
	}
	for i, w := range want {
		got, err := api.DecodeSpec(bytes.NewReader(append(bytes.Clone(lines[2*i]), lines[2*i+1]...)))
		if err != nil {
			t.Errorf("spec %d: %v", i, err)
			continue
		}
		if d := cmp.Diff(w, got); d != "" {
			t.Errorf("spec %d means something else (-was +is):\n%s", i, d)
		}
	}
}
