package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/arcboxlabs/arcbox-engine/hv/network/netd"
)

// version is set by the linker.
var version = "dev"

// gcPercent and softLimit: most of its memory is buffers of connections.
const (
	gcPercent = 50
	softLimit = 256 << 20
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("arcbox-netd", version)
		return
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(softLimit)
	os.Exit(netd.Run(context.Background(), netd.Config{Version: version}))
}
