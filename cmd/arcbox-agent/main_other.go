//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "arcbox-agent runs in a Linux guest only")
	os.Exit(2)
}
