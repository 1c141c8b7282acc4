package qemu

import (
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain plays QEMU when the driver under test starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-name" {
		syscall.Exit(playQEMU(os.Args)) // at once: os.Exit under -race takes a second
	}
	goleak.VerifyTestMain(m)
}
