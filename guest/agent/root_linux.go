package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Where things are while the root is put together, and afterwards.
const (
	imageDir = "/image"
	dataDir  = "/data"
	newRoot  = "/newroot"
	keptData = "/run/arcbox/data" // in the new root: to grow it, to trim it
	upperDir = "upper"
	workDir  = "work"

	givenFile = "identity" // beside them
)

// deviceTime is for a disk's driver.
const deviceTime = 10 * time.Second

// enterRoot puts the machine's root together from its image and its data disk,
// and makes it the root of this process. What the initramfs held is freed.
func (m *machine) enterRoot() error {
	image, err := awaitDevice(wire.SerialImage)
	if err != nil {
		return err
	}
	data, err := awaitDevice(wire.SerialData)
	if err != nil {
		return err
	}
	if m.replays, err = needsReplay(data); err != nil {
		m.log.Warn("the data disk's log", "err", err) // mounting it says more
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"the image", func() error { return mountAt(image, imageDir, "erofs", unix.MS_RDONLY, "") }},
		{"the data disk", func() error { return mountAt(data, dataDir, "btrfs", 0, "") }},
		{"the data disk's size", func() error { return growBtrfs(dataDir, data) }},
		{"the root", mountOverlay},
		{"its directories", moveMounts},
		{"the initramfs", func() error { return emptyRoot("/") }},
		{"the change of root", changeRoot},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	m.phases.Mark("root")
	return nil
}

// awaitDevice finds a disk by its serial, once its driver has.
func awaitDevice(serial string) (string, error) {
	changes, err := deviceNews()
	if err != nil {
		return "", err
	}
	defer changes.close()
	ctx, cancel := context.WithTimeout(context.Background(), deviceTime)
	defer cancel()
	name, missing := "", error(nil)
	err = changes.await(ctx, func() (bool, error) {
		name, missing = deviceOf("/sys/block", serial)
		return missing == nil, nil
	})
	if missing != nil {
		err = missing
	}
	return filepath.Join("/dev", name), err
}

// deviceOf is the name of the disk with a serial.
func deviceOf(sysBlock, serial string) (string, error) {
	files, err := filepath.Glob(filepath.Join(sysBlock, "*", "serial"))
	if err != nil {
		return "", err
	}
	var seen []string
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f))
		got := oneLine(f)
		if got == serial {
			return name, nil
		}
		seen = append(seen, name+" "+strconv.Quote(got))
	}
	return "", fmt.Errorf("no disk has the serial %q: there are [%s]", serial, strings.Join(seen, ", "))
}

func mountAt(device, on, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(on, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(device, on, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s as %s: %w", device, kind, err)
	}
	return nil
}

// growBtrfs makes a file system as large as its disk, where it is not.
func growBtrfs(on, device string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(on, &st); err != nil {
		return err
	}
	size, err := diskSize(filepath.Base(device))
	if err != nil {
		return err
	}
	if has := int64(st.Blocks) * st.Bsize; int64(size)-has < 1<<20 {
		return nil // Btrfs leaves the rest of a mebibyte
	}
	return resizeBtrfs(on)
}

// resizeBtrfs is BTRFS_IOC_RESIZE: the first device to its largest.
func resizeBtrfs(on string) error {
	const request = 0x50009403
	var args struct {
		_    int64
		name [4088]byte
	}
	copy(args.name[:], "1:max")
	dir, err := os.Open(on)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), request, uintptr(unsafe.Pointer(&args)))
	if errno != 0 {
		return fmt.Errorf("grow: %w", errno)
	}
	return nil
}

// mountOverlay lays the data disk over the image. Directories may be renamed, as
// on any file system.
func mountOverlay() error {
	for _, dir := range []string{upperDir, workDir} {
		path := filepath.Join(dataDir, dir)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := mountAt("overlay", newRoot, "overlay", 0,
		fmt.Sprintf("lowerdir=%s,upperdir=%s/%s,workdir=%s/%s,redirect_dir=on", imageDir, dataDir, upperDir, dataDir, workDir)); err != nil {
		return err
	}
	return unix.Unmount(imageDir, unix.MNT_DETACH) // the overlay has it
}

// moveMounts takes along what is mounted already.
func moveMounts() error {
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run"} {
		to := newRoot + dir
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, to, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	kept := newRoot + keptData
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Dir(kept), 0o700); err != nil {
		return err
	}
	return unix.Mount(dataDir, kept, "", unix.MS_MOVE, "")
}

// emptyRoot frees the memory that the initramfs takes: every file of the file
// system that dir is on.
func emptyRoot(dir string) error {
	var top unix.Stat_t
	if err := unix.Lstat(dir, &top); err != nil {
		return err
	}
	return removeOn(dir, top.Dev)
}

func removeOn(dir string, dev uint64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Dev != dev {
			continue // another file system's
		}
		if e.IsDir() {
			err = errors.Join(removeOn(path, dev), removeEmpty(path))
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeEmpty removes a directory, unless something is mounted in it.
func removeEmpty(path string) error {
	err := unix.Rmdir(path)
	if err == unix.ENOTEMPTY || err == unix.EBUSY {
		return nil
	}
	return err
}

func changeRoot() error {
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	return errors.Join(unix.Chroot("."), os.Chdir("/"))
}
