package agent

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// growTime is how long the kernel may take to see that a disk has become larger.
const growTime = 10 * time.Second

// Grow makes the machine's own file system as large as its disk has become, one
// call at a time. What was done is done again without harm.
func (a *Agent) Grow(ctx context.Context, req *wire.GrowRequest) (*wire.GrowReply, error) {
	leave, err := a.disk(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
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

// awaitSize waits until a disk has so many bytes.
func awaitSize(ctx context.Context, device string, size uint64) error {
	changes, err := deviceNews() // before the first look
	if err != nil {
		return err
	}
	defer changes.close()
	has := uint64(0)
	err = changes.await(ctx, func() (bool, error) {
		has, err = diskSize(device)
		return has >= size, err
	})
	if err != nil {
		return fmt.Errorf("it has %d: %w", has, err)
	}
	return nil
}
