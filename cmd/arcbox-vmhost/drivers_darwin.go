package main

import (
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
	"github.com/arcboxlabs/arcbox-engine/hv/vz"
)

func drivers() []hv.Driver { return []hv.Driver{vz.New(vz.Options{}), sim.New()} }
