// Package erofstest reads EROFS images for tests, with a reader that shares no
// code with our writer (erofs/go-erofs).
package erofstest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	erofs "github.com/erofs/go-erofs"
)

// File is all that an image says of one name.
type File struct {
	Mode       uint32
	UID, GID   uint32
	Sec        int64
	Nsec       uint32
	Rdev       uint32
	Nlink, Ino int
	Size       int64
	Target     string // of a symbolic link
	Data       string // SHA-256 of a regular file's
	Xattrs     map[string]string
}

// Read reads a whole image: every name, "." for the root.
func Read(r io.ReaderAt) (map[string]File, error) {
	img, err := erofs.Open(r)
	if err != nil {
		return nil, err
	}
	found := map[string]File{}
	err = fs.WalkDir(img, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f, err := read(img, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		found[path] = f
		return nil
	})
	return found, err
}

func read(img fs.FS, path string) (File, error) {
	links, ok := img.(fs.ReadLinkFS)
	if !ok {
		return File{}, errors.New("the reader knows no links")
	}
	info, err := links.Lstat(path)
	if err != nil {
		return File{}, err
	}
	st, ok := info.Sys().(*erofs.Stat)
	if !ok {
		return File{}, fmt.Errorf("the reader's stat is %T", info.Sys())
	}
	f := File{
		Mode: unixMode(st.Mode), UID: st.UID, GID: st.GID, Sec: int64(st.Mtime), Nsec: st.MtimeNs,
		Nlink: st.Nlink, Ino: int(st.Ino), Size: st.Size, Xattrs: map[string]string{},
	}
	for name, value := range st.Xattrs {
		// The reader puts a dot behind the two names that have nothing behind
		// their namespace.
		f.Xattrs[strings.TrimSuffix(name, ".")] = value
	}
	switch f.Mode & 0o170000 {
	case 0o020000, 0o060000:
		f.Rdev = st.Rdev
	case 0o120000:
		f.Target, err = links.ReadLink(path)
	case 0o100000:
		var data []byte
		data, err = fs.ReadFile(img, path)
		f.Data = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return f, err
}

// unixMode is a mode as Linux has it in st_mode.
func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, bit := range []struct {
		from fs.FileMode
		to   uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.from != 0 {
			mode |= bit.to
		}
	}
	switch m.Type() {
	case 0:
		return mode | 0o100000
	case fs.ModeDir:
		return mode | 0o040000
	case fs.ModeSymlink:
		return mode | 0o120000
	case fs.ModeNamedPipe:
		return mode | 0o010000
	case fs.ModeSocket:
		return mode | 0o140000
	case fs.ModeDevice:
		return mode | 0o060000
	case fs.ModeDevice | fs.ModeCharDevice:
		return mode | 0o020000
	}
	return mode // of no type that we know, which no test expects
}

// Names are the names of files, in order.
func Names(files map[string]File) []string {
	return slices.Sorted(maps.Keys(files))
}

// Sum is what File.Data is for a file with this content.
func Sum(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }
