package main

import (
	"fmt"
	"os"

	"github.com/arcboxlabs/arcbox-engine/guest/agent"
)

// version is set by the linker.
var version = "dev"

func main() {
	if os.Getpid() == 1 {
		agent.Init(version)
	}
	if os.Args[0] == agent.BesideName {
		agent.Beside(version)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	fmt.Fprintln(os.Stderr, "arcbox-agent is process 1 of a machine's initramfs; here it can only tell its --version")
	os.Exit(2)
}
