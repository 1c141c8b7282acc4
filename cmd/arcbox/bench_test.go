package main

import (
	"fmt"
	"io"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func BenchmarkList1000(b *testing.B) {
	a := newApp(nil, io.Discard, io.Discard)
	var ms []*wire.Machine
	for i := range 1000 {
		ms = append(ms, &wire.Machine{Name: fmt.Sprintf("machine-%d", i), State: "Running", Desired: "running", Health: "ok",
			Spec: &wire.Spec{Cpus: 2, Memory: 4 << 30, Backend: "qemu"}, CreatedUnixNanos: 1})
	}
	for b.Loop() {
		if err := a.printMachines(machineListing(a), ms, nil); err != nil {
			b.Fatal(err)
		}
	}
}
