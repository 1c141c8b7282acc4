package qemu

import (
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/arcboxlabs/arcbox-engine/hv/virtiofs"
)

// TestMain plays QEMU when the driver under test starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-name" {
		syscall.Exit(playQEMU(os.Args)) // at once: os.Exit under -race takes a second
	}
	if len(os.Args) > 1 && os.Args[1] == virtiofs.Command { // as a VM host's binary does
		_, _ = os.Stderr.WriteString(virtiofs.Enter(os.Args[2:]).Error() + "\n")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
