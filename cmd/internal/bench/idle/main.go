// Command idle is a Go program that does nothing but wait for a signal: what
// the wake-ups of an engine at rest are held against.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	<-c
}
