package erofs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnfit means that something can't be said in an EROFS of this form.
var ErrUnfit = errors.New("does not fit into an EROFS image")

// Inode is a file of any kind, but for its names. Names are in the Entries of
// directories; a file with several names is one Inode in several places. A
// directory has one place only.
type Inode struct {
	Mode     uint32 // as Linux has it in st_mode: type and permission bits
	UID, GID uint32
	Sec      int64 // time of modification
	Nsec     uint32
	Rdev     uint32            // of a device: see Rdev
	Target   string            // of a symbolic link
	Xattrs   map[string]string // only with a name that has a namespace of Supported
	Entries  map[string]*Inode // of a directory; names without "." and ".."

	size  int64
	start uint32 // first block of its data
	tail  []byte // what lies behind the inode
	attrs int    // bytes of its extended attributes

	names  []string // of Entries, with "." and "..", in order
	layout uint16
	nid    uint64 // its number: where it lies, in slots from the first inode
	nlink  uint32
}

// IsDir tells whether it is a directory.
func (n *Inode) IsDir() bool { return n.Mode&typeMask == typeDir }

// IsFile tells whether it is a regular file.
func (n *Inode) IsFile() bool { return n.Mode&typeMask == typeFile }

// IsLink tells whether it is a symbolic link.
func (n *Inode) IsLink() bool { return n.Mode&typeMask == typeLink }

// Rdev is a device's number in the form in which Linux keeps it on disk.
func Rdev(major, minor int64) (uint32, error) {
	if major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff {
		return 0, fmt.Errorf("device %d:%d: Linux has majors up to 4095 and minors up to 1048575: %w", major, minor, ErrUnfit)
	}
	return uint32(minor&0xff | major<<8 | (minor&^0xff)<<12), nil
}

// check refuses what the format, or Linux, has no room for.
func (n *Inode) check() error {
	if fileTypes[n.Mode&typeMask] == 0 || n.Mode > 0o177777 {
		return fmt.Errorf("mode %o: %w", n.Mode, ErrUnfit)
	}
	if n.IsLink() && (n.Target == "" || len(n.Target) > MaxTarget) {
		return fmt.Errorf("a symbolic link to %d bytes, 1 to %d are allowed: %w", len(n.Target), MaxTarget, ErrUnfit)
	}
	var err error
	n.attrs, err = xattrSize(n.Xattrs)
	return err
}

// sortNames fills names.
func (n *Inode) sortNames() error {
	n.names = make([]string, 0, len(n.Entries)+2)
	n.names = append(n.names, ".", "..")
	for name := range n.Entries {
		if name == "" || name == "." || name == ".." || len(name) > MaxName || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("the name %.300q: %w", name, ErrUnfit)
		}
		n.names = append(n.names, name)
	}
	slices.Sort(n.names) // the kernel searches by halves, dots included
	return nil
}
