package main

import (
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/qemu"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
)

func drivers() []hv.Driver { return []hv.Driver{qemu.New(qemu.Options{}), sim.New()} }
