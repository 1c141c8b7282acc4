//go:build cgo

package vz

import (
	"github.com/Code-Hex/vz/v3"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// rosetta is of Apple silicon; a spec that asks for it does not get here.
func rosetta() (vz.DirectoryShare, error) { return nil, hv.ErrUnsupported }
