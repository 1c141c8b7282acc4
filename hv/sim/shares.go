package sim

import (
	"os"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

var _ hv.Sharer = (*VM)(nil)

// Shares says of each directory whether it is there: nothing of it is served.
func (vm *VM) Shares() []hv.ShareState {
	var out []hv.ShareState
	for _, s := range vm.spec.Shares {
		state := hv.ShareState{Tag: s.Tag}
		switch info, err := os.Stat(s.Path); {
		case err != nil:
			state.Error = err.Error()
		case !info.IsDir():
			state.Error = s.Path + ": not a directory"
		}
		out = append(out, state)
	}
	return out
}
