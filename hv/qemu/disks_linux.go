package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// openDisks opens the disks of a spec, to be handed to QEMU: what was looked at
// here is what the guest gets, whatever the path leads to by then. On an error
// none is left open.
func openDisks(disks []hv.Disk) ([]*os.File, error) {
	var files []*os.File
	for _, d := range disks {
		f, err := openDisk(d)
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			var p *fs.PathError
			if errors.As(err, &p) {
				err = p.Err // the path is named already
			}
			return nil, fmt.Errorf("hv/qemu: disk %q: %w", d.Path, err)
		}
		files = append(files, f)
	}
	return files, nil
}

func openDisk(d hv.Disk) (*os.File, error) {
	// To open some things does something: they are not opened at all.
	info, err := os.Stat(d.Path)
	if err != nil {
		return nil, err
	}
	if err := fits(d, info); err != nil {
		return nil, err
	}
	flags := os.O_RDWR | unix.O_NONBLOCK
	switch {
	case d.ReadOnly:
		flags = os.O_RDONLY | unix.O_NONBLOCK
	case d.Device:
		flags |= unix.O_EXCL // a device that is mounted, or that somebody else has so
	}
	f, err := os.OpenFile(d.Path, flags, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, errors.New("the host or another VM uses the device: unmount it, or stop that machine")
	}
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = fits(d, info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// fits refuses what is not what the spec says.
func fits(d hv.Disk, info fs.FileInfo) error {
	const kinds = fs.ModeDevice | fs.ModeCharDevice
	switch {
	case d.Device && info.Mode()&kinds != fs.ModeDevice:
		return errors.New("it is no block device")
	case !d.Device && !info.Mode().IsRegular():
		return errors.New("it is no file")
	case !d.Device && info.Size() == 0:
		return errors.New("it is empty")
	}
	return nil
}

// GrowDisk makes a disk's file larger, and tells the guest. QEMU would make it
// smaller as readily, and cut off what is there: so its length is looked at
// first, by one caller at a time.
func (v *vm) GrowDisk(ctx context.Context, serial string, size int64) error {
	i, err := hv.Growable(v.disks, serial, size)
	if err != nil {
		return err
	}
	v.grows.Lock()
	defer v.grows.Unlock()
	info, err := os.Lstat(v.disks[i].Path)
	if err != nil {
		return fmt.Errorf("hv/qemu: grow disk %q: %w", serial, err)
	}
	if err := fits(v.disks[i], info); err != nil {
		return fmt.Errorf("hv/qemu: grow disk %q: %w", serial, err)
	}
	if info.Size() > size {
		return nil
	}
	return v.command(ctx, "block_resize", map[string]any{"node-name": diskNode(i), "size": size})
}

// inPaths puts the disks' paths where QEMU names the descriptors that it got.
func inPaths(said string, disks []hv.Disk) string {
	for i, d := range disks {
		at := "[" + diskName(i) + "]"
		if strings.Contains(said, "Failed to get \"") && strings.Contains(said, at) {
			return fmt.Sprintf("disk %q is in use: another VM or program has it open, and one of the two writes to it", d.Path)
		}
		said = strings.ReplaceAll(said, diskName(i), d.Path)
	}
	return said
}
