//go:build !linux

package virtiofs

import "github.com/arcboxlabs/arcbox-engine/hv"

// Command is the word by which a VM host's binary is asked to [Enter].
const Command = "serve-share"

// What only Linux has.
const (
	fdSocket = 4
	fdSelf   = 5
	place    = "/run/share"
)

// Enter is Linux's.
func Enter([]string) error { return hv.ErrUnsupported }
