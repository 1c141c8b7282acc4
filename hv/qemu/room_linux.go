package qemu

import (
	"context"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// roomLeast is how much room the file systems of a VM's disks must have for its guest to
// go on, in bytes: with less it would be paused again at once.
const roomLeast = 16 << 20

// goOn lets a guest go on that QEMU paused because the host's disk was full, where there
// is room again and nobody wants it held still.
func (v *vm) goOn() {
	v.turns.Lock()
	defer v.turns.Unlock()
	if v.held || !hasRoom(v.disks) {
		return
	}
	v.env.Logf("qemu: there is room on the host's disk: the guest goes on")
	ctx, cancel := context.WithTimeout(context.Background(), v.driver.callTimeout)
	defer cancel()
	if err := v.command(ctx, "cont", nil); err != nil {
		v.env.Logf("qemu: the guest does not go on: %v", err)
	}
}

// hasRoom tells whether each file that a VM writes to has room to grow. Block devices
// tell nothing of what is behind them: theirs is a person's to say.
func hasRoom(disks []hv.Disk) bool {
	for _, d := range disks {
		if d.ReadOnly {
			continue
		}
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Dir(d.Path), &st); d.Device || err != nil || st.Bavail*uint64(st.Bsize) < roomLeast { //nolint:gosec // a size is positive
			return false
		}
	}
	return true
}

// Pause holds the guest's processors still.
func (v *vm) Pause(ctx context.Context) error { return v.turn(ctx, "stop", true) }

// Resume lets them go on.
func (v *vm) Resume(ctx context.Context) error { return v.turn(ctx, "cont", false) }

func (v *vm) turn(ctx context.Context, command string, held bool) error {
	v.turns.Lock()
	defer v.turns.Unlock()
	err := v.command(ctx, command, nil)
	if err == nil {
		v.held = held
	}
	return err
}

// waiting is when it is looked for room next; nil = the guest does not wait for any.
func (v *vm) waiting(s *story) <-chan time.Time {
	if !s.full() {
		return nil
	}
	return time.After(v.driver.roomEvery)
}
