package rootfs

import (
	"errors"
	"fmt"
)

// What can be wrong with a tar, besides what erofs.ErrUnfit says.
var (
	ErrOutside   = errors.New("leads outside the image")
	ErrLink      = errors.New("bad link")
	ErrKind      = errors.New("unknown kind of entry")
	ErrTruncated = errors.New("the archive is cut off")
	ErrDamaged   = errors.New("the archive is damaged, or no tar")
	ErrLimit     = errors.New("over the limit")
	ErrEmpty     = errors.New("the archive holds no files")
)

// EntryError says at which entry of a tar something is wrong.
type EntryError struct {
	Entry int // the first is 1
	Name  string
	Err   error
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("entry %d, %.300q: %v", e.Entry, e.Name, e.Err)
}

func (e *EntryError) Unwrap() error { return e.Err }
