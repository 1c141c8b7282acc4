package sim

import (
	"path/filepath"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestSharesThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	vm := &VM{spec: hv.Spec{Shares: []hv.Share{{Tag: "a", Path: dir}, {Tag: "b", Path: filepath.Join(dir, "none")}}}}
	got := vm.Shares()
	if len(got) != 2 || got[0] != (hv.ShareState{Tag: "a"}) || got[1].Tag != "b" || got[1].Error == "" {
		t.Errorf("%+v", got)
	}
}
