package actors

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// MaxBlocks is how many disks a machine may have beside its own.
const MaxBlocks = 12

// checkBlocks is a spec's disks, each with the serial by which its guest finds it
// for ever. Whether they are there is for a start to see: they may come and go.
func checkBlocks(blocks []*wire.Block) ([]fsm.Block, error) {
	if len(blocks) > MaxBlocks {
		return nil, badInput("block", "block: %d of them, at most %d", len(blocks), MaxBlocks)
	}
	var out []fsm.Block
	seen := map[string]bool{}
	for i, b := range blocks {
		path := b.GetPath()
		switch {
		case !filepath.IsAbs(path) || len(path) > 4096 || filepath.Clean(path) != path || hasControl(path):
			return nil, badInput("block", "block %q: an absolute path without control characters, . and ..", clip(path, 80))
		case seen[path]:
			return nil, badInput("block", "block %q: it is there twice", clip(path, 80))
		}
		seen[path] = true
		out = append(out, fsm.Block{Path: path, ReadOnly: b.GetReadOnly(), Serial: fmt.Sprintf("block%d", i+1)})
	}
	return out, nil
}

// ownBlocks refuses what is the engine's own.
func (s *shared) ownBlocks(blocks []fsm.Block) error {
	for _, b := range blocks {
		if s.Home != "" && strings.HasPrefix(b.Path+"/", filepath.Clean(s.Home)+"/") {
			return OwnBlock(b.Path)
		}
	}
	return nil
}

// OwnBlock is the refusal of a disk that lies where the engine keeps its own.
func OwnBlock(path string) *Refusal {
	return &Refusal{Code: wire.Code_CODE_UNSAFE, Field: "block", Hint: "arcbox create --help",
		Message: fmt.Sprintf("block %q: it lies in the engine's own directory", clip(path, 200))}
}

// blocksFree refuses a start while another machine's VM has a disk of this one,
// and one of the two writes to it. Two that start at the same moment, and what is
// one file under two names, are for the hypervisor's locks to tell.
func (m *machine) blocksFree() error {
	mine := map[string]fsm.Block{}
	for _, b := range m.state().Spec.Blocks {
		mine[b.Path] = b
	}
	if len(mine) == 0 {
		return nil
	}
	seen, _ := m.view.List()
	for _, o := range seen {
		if o.ID == m.ref.ID || (!o.State.Live() && o.Stray == nil) {
			continue
		}
		for _, b := range o.LaunchSpec().Blocks {
			if my, both := mine[b.Path]; both && !(my.ReadOnly && b.ReadOnly) {
				return &Refusal{Code: wire.Code_CODE_CONFLICT, Field: "block", Hint: "arcbox stop " + o.Name,
					Message: fmt.Sprintf("machine %q: its disk %q is in use by machine %q, which is %s, and one of the two writes to it", m.ref.Name, b.Path, o.Name, o.State)}
			}
		}
	}
	return nil
}
