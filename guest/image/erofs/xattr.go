package erofs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	xattrHeader = 12 // before an inode's attributes
	xattrEntry  = 4  // before each name
	maxXattr    = 0xffff
	maxXattrs   = xattrHeader + 4*(0xffff-1)
)

// namespaces are the beginnings of names that EROFS keeps as one byte. A name
// that has none of them can't be kept.
var namespaces = []struct {
	prefix string
	whole  bool // there is nothing behind it
	index  byte
}{
	{"user.", false, 1},
	{"system.posix_acl_access", true, 2},
	{"system.posix_acl_default", true, 3},
	{"trusted.", false, 4},
	{"security.", false, 6},
}

// Supported tells whether an extended attribute of that name can be kept.
func Supported(name string) bool {
	_, _, ok := splitXattr(name)
	return ok
}

func splitXattr(name string) (index byte, rest string, ok bool) {
	for _, ns := range namespaces {
		rest, ok := strings.CutPrefix(name, ns.prefix)
		if ok && ns.whole == (rest == "") && len(rest) <= MaxName {
			return ns.index, rest, true
		}
	}
	return 0, "", false
}

// xattrSize is the number of bytes that attributes take behind an inode.
func xattrSize(attrs map[string]string) (int, error) {
	if len(attrs) == 0 {
		return 0, nil
	}
	size := xattrHeader
	for name, value := range attrs {
		_, rest, ok := splitXattr(name)
		if !ok || len(value) > maxXattr {
			return 0, fmt.Errorf("the extended attribute %.300q of %d bytes: %w", name, len(value), ErrUnfit)
		}
		size += align(xattrEntry+len(rest)+len(value), 4)
	}
	if size > maxXattrs {
		return 0, fmt.Errorf("extended attributes of %d bytes, %d are allowed: %w", size, maxXattrs, ErrUnfit)
	}
	return size, nil
}

// xattrUnits is the size as an inode says it.
func xattrUnits(size int) uint16 {
	if size == 0 {
		return 0
	}
	return uint16((size-xattrHeader)/4 + 1)
}

// encodeXattrs are the attributes as they lie behind an inode.
func encodeXattrs(attrs map[string]string, size int) []byte {
	if size == 0 {
		return nil
	}
	b := make([]byte, xattrHeader, size)
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		value := attrs[name]
		index, rest, _ := splitXattr(name)
		b = append(b, byte(len(rest)), index, byte(len(value)), byte(len(value)>>8))
		b = append(b, rest...)
		b = append(b, value...)
		b = append(b, make([]byte, align(len(b), 4)-len(b))...)
	}
	return b
}

// align rounds up to a multiple of unit, a power of two.
func align[T int | int64](n, unit T) T { return (n + unit - 1) &^ (unit - 1) }
