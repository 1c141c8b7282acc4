package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// checkBlocks refuses disks that a VM host would refuse, while nothing is recorded
// yet. The VM host looks again: it hands on what it opened.
func (w *World) checkBlocks(spec fsm.Spec) error {
	home, err := filepath.EvalSymlinks(filepath.Dir(w.Machines))
	if err != nil {
		home = filepath.Dir(w.Machines) // nothing can lie there yet
	}
	for _, b := range spec.Blocks {
		target, err := filepath.EvalSymlinks(b.Path)
		if err == nil && strings.HasPrefix(target, home+"/") {
			return actors.OwnBlock(b.Path)
		}
		if err == nil {
			err = disk.Usable(target, b.ReadOnly)
		}
		if info, statErr := os.Stat(target); err == nil && statErr == nil && disk.IsDevice(info) && spec.Backend == string(hv.BackendVZ) {
			err = errors.New("backend vz has no block devices, only files")
		}
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err // the path is named already
		}
		if err != nil {
			return &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "block", Hint: "ls -lL " + b.Path,
				Message: fmt.Sprintf("block %q: a file or a block device that the engine can use is needed: %v", b.Path, err)}
		}
	}
	return nil
}

// withBlocks adds the disks that a machine has beside its own.
func withBlocks(s *hv.Spec, blocks []fsm.Block) {
	for _, b := range blocks {
		s.Version = max(s.Version, hv.SpecVersionDisks)
		info, err := os.Stat(b.Path)
		device := err == nil && disk.IsDevice(info) // the VM host says what is wrong otherwise
		s.Disks = append(s.Disks, hv.Disk{Path: b.Path, ReadOnly: b.ReadOnly, Device: device, Serial: b.Serial})
	}
}
