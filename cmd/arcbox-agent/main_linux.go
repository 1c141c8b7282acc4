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
	if len(os.Args) == 2 && os.Args[1] == agent.SFTPServer {
		if err := agent.SFTP(); err != nil {
			fmt.Fprintf(os.Stderr, "arcbox-agent: %v\n", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "arcbox-agent is process 1 of a machine's initramfs; here it can only tell its --version")
	os.Exit(2)
}
