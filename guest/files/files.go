package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tempPrefix is how the names of files begin that are being written.
const tempPrefix = ".tmp-"

// What is not read.
var (
	ErrSize = errors.New("is too long")
	ErrKind = errors.New("is no regular file")
)

// Replace makes a file of that name, or replaces it, by one that is whole and
// synced: whenever the process or the host ends, the name stands for what was
// there before or for all of data.
func Replace(name string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // swept later where this fails too
		return err
	}
	return SyncDir(dir)
}

// Temp tells whether a name is that of a file which was about to Replace another.
func Temp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// Sweep removes what killed processes were about to Replace in a directory. Who
// calls it keeps others from writing there.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if Temp(e.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// SyncDir makes what was named, renamed and removed in a directory hold.
func SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open opens a regular file to be read, and nothing else: a FIFO or a device in
// its place would block or never end.
func Open(name string) (*os.File, error) {
	return regular(os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0))
}

// OpenIn is Open within a directory that no link leads out of.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	return regular(root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0))
}

func regular(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", f.Name(), ErrKind)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read reads a regular file of at most limit bytes, else it ends with ErrSize.
func Read(name string, limit int64) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s %w: more than %d bytes", name, ErrSize, limit)
	}
	return data, nil
}
