package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// copyStep is how much is copied between two looks at what the caller thinks of it.
const copyStep = 32 << 20

// Copy makes a disk of one that nobody writes to, where there is none: whole, synced,
// and with an identity of its own. On a file system that can (Btrfs, XFS, APFS) the
// two share what they have in common; elsewhere the data is copied, and the holes are
// not. step hears how many bytes of how many are copied, and may end it; so may ctx.
// After an error nothing is left.
func Copy(ctx context.Context, from, to string, id uuid.UUID, step func(done, all int64) error) error {
	if err := Check(from); err != nil {
		return err
	}
	if err := Check(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("copy disk: %s: %w", to, fs.ErrExist), err)
	}
	fresh := to + stage
	err := os.Remove(fresh)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = copyTo(ctx, from, fresh, id, step)
	}
	if err == nil {
		err = os.Rename(fresh, to)
	}
	if err == nil {
		err = files.SyncDir(filepath.Dir(to))
	}
	if err != nil {
		_ = os.Remove(fresh) // it may never have been there
		return fmt.Errorf("copy disk: %w", err)
	}
	return nil
}

// Adopt gives a disk that came from elsewhere an identity of its own, and makes what
// it holds hold. What has no file system of ours is refused.
func Adopt(path string, id uuid.UUID) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err == nil {
		err = errors.Join(identify(f, id), f.Chmod(0o600), f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("adopt disk: %w", err)
	}
	return Check(path)
}

func copyTo(ctx context.Context, from, to string, id uuid.UUID, step func(done, all int64) error) error {
	src, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read-only
	use, err := Used(from)
	if err != nil {
		return err
	}
	shared := share(src, to) == nil
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err = context.Cause(ctx); err == nil && shared {
		err = step(use.Allocated, use.Allocated)
	} else if err == nil {
		err = copyData(ctx, src, dst, use, step)
	}
	if err == nil {
		err = identify(dst, id)
	}
	if err == nil {
		err = errors.Join(dst.Chmod(0o600), dst.Sync())
	}
	return errors.Join(err, dst.Close())
}

// copyData copies what is no hole.
func copyData(ctx context.Context, src, dst *os.File, use Use, step func(done, all int64) error) error {
	if err := dst.Truncate(use.Size); err != nil {
		return err
	}
	done := int64(0)
	for at := int64(0); at < use.Size; {
		from, to, err := files.NextData(src, at, use.Size)
		if err != nil {
			return err
		}
		for at = from; at < to; {
			n := min(to-at, copyStep)
			if err := copyPiece(src, dst, at, n); err != nil {
				return err
			}
			at, done = at+n, done+n
			if err := errors.Join(context.Cause(ctx), step(done, max(use.Allocated, done))); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyPiece copies within the kernel, where that can.
func copyPiece(src, dst *os.File, at, n int64) error {
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if _, err := dst.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(dst, src, n)
	return err
}
