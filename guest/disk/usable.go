package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Usable tells whether a path is what a machine can have as a further disk: a file
// or a block device that can be opened. Anything else is not opened at all.
func Usable(path string, readOnly bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() && !IsDevice(info):
		return errors.New("neither a file nor a block device")
	case info.Mode().IsRegular() && info.Size() == 0:
		return errors.New("it is empty: truncate -s 10G makes a disk of 10 GiB")
	}
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// IsDevice tells a block device from all else.
func IsDevice(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice
}
