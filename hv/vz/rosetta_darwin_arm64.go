//go:build cgo

package vz

import (
	"errors"

	"github.com/Code-Hex/vz/v3"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// rosetta is the share that has Apple's translator. It is not installed from here:
// that asks a person.
func rosetta() (vz.DirectoryShare, error) {
	switch vz.LinuxRosettaDirectoryShareAvailability() {
	case vz.LinuxRosettaAvailabilityNotSupported:
		return nil, errors.Join(errors.New("rosetta: this macOS has none for Linux (13 or later is needed)"), hv.ErrUnsupported)
	case vz.LinuxRosettaAvailabilityNotInstalled:
		return nil, errors.New("rosetta: it is not installed: softwareupdate --install-rosetta")
	}
	return vz.NewLinuxRosettaDirectoryShare()
}
