package agent

import (
	"context"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// dataUse is how full the machine's own disk is, nil where it has none.
func dataUse() *wire.DiskUse {
	var st unix.Statfs_t
	if err := unix.Statfs(keptData, &st); err != nil || st.Type != unix.BTRFS_SUPER_MAGIC || st.Bsize <= 0 {
		return nil
	}
	size := uint64(st.Bsize)
	return &wire.DiskUse{Size: st.Blocks * size, Used: (st.Blocks - min(st.Bfree, st.Blocks)) * size, Free: st.Bavail * size}
}

// Trim gives back what the machine's own disk does not need, one call at a time.
// Who asked may be gone before it is done: that changes nothing.
func (a *Agent) Trim(ctx context.Context, _ *wire.TrimRequest) (*wire.TrimReply, error) {
	if dataUse() == nil {
		return nil, status.Error(codes.FailedPrecondition, "this machine has no disk of its own")
	}
	select {
	case a.trims <- struct{}{}:
		defer func() { <-a.trims }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	n, err := trim(keptData)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "trim: %v", err)
	}
	return &wire.TrimReply{Trimmed: n}, nil
}

// trim is FITRIM over a whole file system. What was deleted is free only once
// that is committed.
func trim(dir string) (uint64, error) {
	const request = 0xc0185879
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return 0, err
	}
	all := struct{ start, length, least uint64 }{length: math.MaxUint64}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), request, uintptr(unsafe.Pointer(&all))); errno != 0 {
		return 0, errno
	}
	return all.length, nil // what it was, becomes what was trimmed
}
