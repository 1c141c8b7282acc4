package hvtest

import (
	"os"
	"path/filepath"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// testShares: a VM that is to have shares tells of each how it does, and runs
// without one that can't be had.
func testShares(s *suite) {
	dir, err := filepath.EvalSymlinks(s.TempDir())
	if err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		s.Fatal(err)
	}
	spec := s.Spec(s.T)
	spec.Version = max(spec.Version, hv.SpecVersionShares)
	spec.Shares = []hv.Share{{Tag: "there", Path: dir}, {Tag: "gone", Path: filepath.Join(dir, "none")}, {Tag: "file", Path: filepath.Join(dir, "file"), Writable: true}}
	vm := s.startOf(spec)
	sharer, ok := vm.(hv.Sharer)
	if !ok {
		s.Fatal("it is no hv.Sharer")
	}
	states := sharer.Shares()
	if len(states) != len(spec.Shares) {
		s.Fatalf("it tells of %v", states)
	}
	for i, state := range states {
		if state.Tag != spec.Shares[i].Tag || (state.Error == "") != (state.Tag == "there") {
			s.Errorf("share %s: %+v", spec.Shares[i].Tag, state)
		}
	}
	if err := vm.Kill(s.ctx()); err != nil {
		s.Fatal(err)
	}
	s.exit(vm)
}
