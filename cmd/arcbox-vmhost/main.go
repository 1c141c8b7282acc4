package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/arcboxlabs/arcbox-engine/hv/virtiofs"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost"
)

// version is set by the linker.
var version = "dev"

// Its heap is a few MiB for the whole life of a VM, so memory counts more than
// the time that collecting takes.
const (
	gcPercent = 25
	softLimit = 48 << 20
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("arcbox-vmhost", version)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == entitlementsFlag {
		_, _ = os.Stdout.Write(entitlements)
		return
	}
	if len(os.Args) > 1 && os.Args[1] == virtiofs.Command {
		fmt.Fprintln(os.Stderr, virtiofs.Enter(os.Args[2:]))
		os.Exit(vmhost.ExitRefused)
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(softLimit)
	os.Exit(vmhost.Run(context.Background(), vmhost.Config{Drivers: drivers(), Version: version}))
}
