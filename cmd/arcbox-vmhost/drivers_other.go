//go:build !linux

package main

import (
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
)

func drivers() []hv.Driver { return []hv.Driver{sim.New()} }
