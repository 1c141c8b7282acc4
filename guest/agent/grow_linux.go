package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// growTime is how long the kernel may take to see that a disk has become larger.
const growTime = 10 * time.Second

// Grow makes the machine's own file system as large as its disk has become, one
// call at a time. What was done is done again without harm.
func (a *Agent) Grow(ctx context.Context, req *wire.GrowRequest) (*wire.GrowReply, error) {
	if dataUse() == nil {
		return nil, status.Error(codes.FailedPrecondition, "this machine has no disk of its own")
	}
	select {
	case a.trims <- struct{}{}:
		defer func() { <-a.trims }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	device, err := deviceOf("/sys/block", wire.SerialData)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "grow: %v", err)
	}
	limited, cancel := context.WithTimeout(ctx, growTime)
	defer cancel()
	if err := awaitSize(limited, device, req.GetSize()); err != nil {
		return nil, status.Errorf(codes.Internal, "grow: await %d bytes of %s: %v", req.GetSize(), device, err)
	}
	if err := growBtrfs(keptData, device); err != nil {
		return nil, status.Errorf(codes.Internal, "grow: %v", err)
	}
	use := dataUse()
	a.opts.Log.Info("the disk has grown", "device", device, "size", use.GetSize())
	return &wire.GrowReply{Size: use.GetSize()}, nil
}

// diskSize is how many bytes a disk has, as the kernel knows it.
func diskSize(device string) (uint64, error) {
	sectors, err := strconv.ParseUint(oneLine("/sys/class/block/"+device+"/size"), 10, 54)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", device, err)
	}
	return sectors * 512, nil
}

// awaitSize waits until a disk has so many bytes. The kernel tells everybody of
// each change of a device: whoever listens before they look misses none.
func awaitSize(ctx context.Context, device string, size uint64) error {
	const kernels = 1 // the group of what the kernel itself says
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("listen for changes: %w", err)
	}
	events := os.NewFile(uintptr(fd), "uevents")
	defer events.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernels}); err != nil {
		return fmt.Errorf("listen for changes: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for said := make([]byte, 8<<10); ; {
		has, err := diskSize(device)
		if err != nil || has >= size {
			return err
		}
		// Too many changes to be told are changes too.
		if _, err := events.Read(said); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if ctx.Err() != nil {
				return fmt.Errorf("it has %d: %w", has, ctx.Err())
			}
			return fmt.Errorf("listen for changes: %w", err)
		}
	}
}
