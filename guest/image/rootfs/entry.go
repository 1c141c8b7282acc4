package rootfs

import (
	"archive/tar"
	"fmt"
	"math"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
)

// Limits bound what one image may be made of.
type Limits struct {
	Entries int   // of all archives together
	Bytes   int64 // of all files together, as the archives say it
}

// DefaultLimits are far above any root file system that a machine would use,
// and far below what fills a host's memory.
var DefaultLimits = Limits{Entries: 2_000_000, Bytes: 256 << 30}

// count takes one entry off what is left.
func (l *Limits) count(h *tar.Header) error {
	if l.Entries--; l.Entries < 0 {
		return fmt.Errorf("too many entries: %w", ErrLimit)
	}
	if h.Size < 0 || h.Size > l.Bytes {
		return fmt.Errorf("%d bytes, %d are left of what an image may hold: %w", h.Size, l.Bytes, ErrLimit)
	}
	l.Bytes -= h.Size
	return nil
}

const xattrRecord = "SCHILY.xattr."

// modes are the type bits of what a tar can hold.
var modes = map[byte]uint32{
	tar.TypeReg: 0o100000, tar.TypeCont: 0o100000, tar.TypeGNUSparse: 0o100000,
	tar.TypeDir: dirMode, tar.TypeSymlink: linkMode, tar.TypeFifo: 0o010000,
	tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000,
}

// inode is what a header says of a file, but for its name and its data.
func inode(h *tar.Header) (*erofs.Inode, error) {
	kind, ok := modes[h.Typeflag]
	if !ok {
		return nil, fmt.Errorf("of type %q: %w", h.Typeflag, ErrKind)
	}
	if h.Uid < 0 || h.Uid > math.MaxUint32 || h.Gid < 0 || h.Gid > math.MaxUint32 {
		return nil, fmt.Errorf("the owner %d:%d: %w", h.Uid, h.Gid, erofs.ErrUnfit)
	}
	n := &erofs.Inode{
		Mode: kind | uint32(h.Mode&0o7777),
		UID:  uint32(h.Uid), GID: uint32(h.Gid),
		Sec: h.ModTime.Unix(), Nsec: uint32(h.ModTime.Nanosecond()),
	}
	switch h.Typeflag {
	case tar.TypeDir:
		n.Entries = map[string]*erofs.Inode{}
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > erofs.MaxTarget || strings.ContainsRune(h.Linkname, 0) {
			return nil, fmt.Errorf("a symbolic link to %d bytes: %w", len(h.Linkname), ErrLink)
		}
		n.Target = h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		dev, err := erofs.Rdev(h.Devmajor, h.Devminor)
		if err != nil {
			return nil, err
		}
		n.Rdev = dev
	}
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok || !erofs.Supported(name) {
			continue
		}
		if n.Xattrs == nil {
			n.Xattrs = map[string]string{}
		}
		n.Xattrs[name] = value
	}
	return n, nil
}

// apply does to the tree what an entry says. It returns the inode that the
// entry's data is for.
func (t *tree) apply(h *tar.Header) (*erofs.Inode, error) {
	path, err := parts(h.Name)
	if err != nil {
		return nil, err
	}
	if t.fresh != nil {
		if mark, err := t.whiteout(path); mark || err != nil {
			return nil, err
		}
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil, nil // about the archive, not about a file
	case tar.TypeLink:
		return nil, t.link(path, h.Linkname)
	}
	n, err := inode(h)
	if err != nil {
		return nil, err
	}
	if err := t.put(path, n); err != nil || !n.IsFile() {
		return nil, err
	}
	return n, nil
}
