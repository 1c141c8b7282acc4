package agent

import (
	"context"
	"encoding/binary"
	"errors"
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

// disk is one caller's turn with the machine's own disk, until leave.
func (a *Agent) disk(ctx context.Context) (leave func(), err error) {
	if dataUse() == nil {
		return nil, status.Error(codes.FailedPrecondition, "this machine has no disk of its own")
	}
	select {
	case a.disks <- struct{}{}:
		return func() { <-a.disks }, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// Trim gives back what the machine's own disk does not need, one call at a time.
// Who asked may be gone before it is done: that changes nothing.
func (a *Agent) Trim(ctx context.Context, _ *wire.TrimRequest) (*wire.TrimReply, error) {
	leave, err := a.disk(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
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

// needsReplay tells whether a Btrfs, not yet mounted, has a log of what was written
// last: it was not unmounted, and mounting it takes that from there.
func needsReplay(device string) (bool, error) {
	const (
		super   = 64 << 10
		atMagic = 0x40
		atLog   = 0x60
		magic   = "_BHRfS_M"
	)
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 4096)
	if _, err := f.ReadAt(head, super); err != nil {
		return false, err
	}
	if string(head[atMagic:atMagic+len(magic)]) != magic {
		return false, errors.New("it has no superblock of Btrfs")
	}
	return binary.LittleEndian.Uint64(head[atLog:]) != 0, nil
}

// diskErrors is how many errors a Btrfs counts: of writing, reading, flushing, of
// checksums, and of blocks that are older than they should be.
func diskErrors(dir string) (uint64, error) {
	const request = 0xc4089434
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	stats := struct {
		device, items, flags uint64
		values               [126]uint64
	}{device: 1, items: 5}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), request, uintptr(unsafe.Pointer(&stats))); errno != 0 {
		return 0, errno
	}
	var sum uint64
	for _, n := range stats.values[:min(stats.items, 5)] {
		sum += n
	}
	return sum, nil
}

// dataState is how the machine's own disk was found, nil where it has none.
func (a *Agent) dataState() *wire.DiskState {
	if dataUse() == nil {
		return nil
	}
	n, err := diskErrors(keptData)
	if err != nil {
		a.opts.Log.Warn("the disk's errors", "err", err)
		return nil
	}
	return &wire.DiskState{Replayed: a.opts.Replayed, Errors: n}
}
