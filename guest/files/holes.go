package files

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// NextData finds the next run of a file that holds data, from at on; from is
// to where there is none. Where the file system knows no holes, all is data.
func NextData(f *os.File, at, size int64) (from, to int64, err error) {
	from, err = f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, syscall.ENXIO) {
		return size, size, nil
	}
	if err != nil {
		return at, size, nil
	}
	to, err = f.Seek(from, unix.SEEK_HOLE)
	if err != nil {
		return from, size, nil
	}
	return min(from, size), min(to, size), nil
}
