package main

import (
	"fmt"
	"os"

	"github.com/arcboxlabs/arcbox-engine/guest/agent"
	"github.com/arcboxlabs/arcbox-engine/guest/buildid"
)

// version is the name of this build, read from the program itself: stamped into
// it, it would make other bytes of the same source, and they are a part of the boot
// assets' digest. Process 1 begins without a /proc.
func version() string {
	for _, path := range []string{"/proc/self/exe", "/init"} {
		program, err := os.Open(path)
		if err != nil {
			continue
		}
		name, err := buildid.Of(program)
		_ = program.Close() // it was read
		if err == nil {
			return name
		}
	}
	return "unknown"
}

func main() {
	if os.Getpid() == 1 {
		agent.Init(version())
	}
	if os.Args[0] == agent.BesideName {
		agent.Beside(version())
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version())
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
