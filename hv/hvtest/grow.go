package hvtest

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// testGrow: a disk of a VM that runs becomes larger, never smaller, and keeps what
// is in it.
func testGrow(s *suite) {
	const was, wanted = 4 << 20, 16 << 20
	path := filepath.Join(s.TempDir(), "disk")
	content := bytes.Repeat([]byte("disk"), was/4)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.Fatal(err)
	}
	spec := s.Spec(s.T)
	spec.Version = max(spec.Version, hv.SpecVersionDisks)
	spec.Disks = append(spec.Disks, hv.Disk{Path: path, Serial: "fixed", ReadOnly: true}, hv.Disk{Path: path + ".rw", Serial: "grown"})
	if err := os.WriteFile(path+".rw", content, 0o600); err != nil {
		s.Fatal(err)
	}
	vm := s.startOf(spec)
	g, ok := vm.(hv.Grower)
	if ok != s.Driver.Capabilities().Grow {
		s.Fatalf("hv.Grower %v, Capabilities.Grow %v", ok, s.Driver.Capabilities().Grow)
	}
	if !ok {
		return
	}
	size := func() int64 {
		info, err := os.Stat(path + ".rw")
		if err != nil {
			s.Fatal(err)
		}
		return info.Size()
	}
	for _, step := range []struct{ ask, want int64 }{{was, was}, {wanted, wanted}, {wanted, wanted}, {was, wanted}} {
		if err := g.GrowDisk(s.ctx(), "grown", step.ask); err != nil || size() != step.want {
			s.Errorf("to %d: %v, it has %d", step.ask, err, size())
		}
	}
	for serial, ask := range map[string]int64{"none": 2 * wanted, "fixed": 2 * wanted, "grown": 2*wanted + 1} {
		if err := g.GrowDisk(s.ctx(), serial, ask); err == nil {
			s.Errorf("disk %s of %d bytes was taken", serial, ask)
		}
	}
	if got, err := os.ReadFile(path + ".rw"); err != nil || !bytes.HasPrefix(got, content) || size() != wanted {
		s.Errorf("what was in it: %v, %d bytes", err, size())
	}
	if err := vm.Kill(s.ctx()); err != nil {
		s.Fatal(err)
	}
	s.exit(vm)
	if err := g.GrowDisk(s.ctx(), "grown", 2*wanted); err == nil {
		s.Error("a disk of a VM that has ended was grown")
	}
}
