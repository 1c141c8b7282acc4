package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// share makes a file that shares all data with another, or makes none.
func share(from *os.File, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(f.Fd()), int(from.Fd()))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
