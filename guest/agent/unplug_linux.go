package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Unplug takes the vsock device out of its slot at once. A guest that the host asks for
// it waits for five seconds, as a person at the slot could change his mind. What is
// written to disk before is not lost where the saved guest is never gone on from.
func (a *Agent) Unplug(context.Context, *wire.UnplugRequest) (*wire.UnplugReply, error) {
	power, err := vsockPower("/sys")
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "unplug: %v", err)
	}
	unix.Sync()
	a.opts.Log.Info("letting go of the vsock device", "slot", filepath.Base(filepath.Dir(power)))
	if err := os.WriteFile(power, []byte("0"), 0o200); err != nil {
		return nil, status.Errorf(codes.Internal, "unplug: %v", err)
	}
	return &wire.UnplugReply{}, nil
}

// vsockPower is the file that has power over the slot of the vsock device.
func vsockPower(sys string) (string, error) {
	devices, err := filepath.Glob(filepath.Join(sys, "bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*"))
	if err != nil || len(devices) != 1 {
		return "", fmt.Errorf("%d vsock devices, not one", len(devices))
	}
	device, err := filepath.EvalSymlinks(devices[0])
	if err != nil {
		return "", err
	}
	address, _, _ := strings.Cut(filepath.Base(filepath.Dir(device)), ".") // without the function
	slots, err := filepath.Glob(filepath.Join(sys, "bus/pci/slots/*/address"))
	if err != nil {
		return "", err
	}
	for _, slot := range slots {
		if oneLine(slot) == address {
			return filepath.Join(filepath.Dir(slot), "power"), nil
		}
	}
	return "", fmt.Errorf("none of %d slots has the device at %s", len(slots), address)
}
