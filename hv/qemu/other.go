//go:build !linux

package qemu

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Start refuses: this driver lives from memfd, vhost-user and KVM.
func (d *Driver) Start(context.Context, hv.Spec, hv.Env) (hv.VM, error) {
	return nil, fmt.Errorf("hv/qemu: start on %s: %w", runtime.GOOS, hv.ErrUnsupported)
}

func kvmMissing() string { return "KVM is of Linux, this is " + runtime.GOOS }

func forkHere(string, []string, *os.ProcAttr) (*os.Process, error) { return nil, hv.ErrUnsupported }

func probeWith(context.Context, forkFunc, string, probeGuest, string, string) Result {
	return verdict(false, kvmMissing())
}
