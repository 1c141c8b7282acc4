package disk

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

//go:embed template.btrfs.zst
var template []byte

// The sizes that a disk may have.
const (
	MinSize = templateSize
	MaxSize = 8 << 40 // what a file may be on every file system of a host
)

const (
	templateSize = 109 << 20
	piece        = 64 << 10 // what is zero in such a piece is not written
	stage        = ".new"
)

// FileName is what a machine's data disk is called, in the machine's directory.
const FileName = "data.img"

// ErrSize means that a disk can't have the size.
var ErrSize = errors.New("is no size of a data disk")

// Make makes a disk where there is none.
func Make(path string, size int64, id uuid.UUID) error {
	if size < MinSize || size > MaxSize {
		return fmt.Errorf("make disk %s: %d bytes %w: %d to %d", path, size, ErrSize, int64(MinSize), int64(MaxSize))
	}
	if err := Check(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := write(path+stage, size, id)
	if err == nil {
		err = os.Rename(path+stage, path)
	}
	if err == nil {
		err = files.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	return nil
}

// Check tells whether a disk is there, as far as can be seen without reading the
// file system in it.
func Check(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() < MinSize {
		return fmt.Errorf("disk %s: %v of %d bytes is no data disk", path, info.Mode(), info.Size())
	}
	return nil
}

// Use is what a disk's file takes of the host.
type Use struct {
	Size      int64 // as the guest sees it
	Allocated int64 // the rest are holes
}

// Used looks at a disk, which a VM may use.
func Used(path string) (Use, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return Use{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return Use{Size: st.Size, Allocated: st.Blocks * 512}, nil
}

// Grow makes a disk that no VM uses as long as size; it never makes one shorter.
// The file takes no more room by it.
func Grow(path string, size int64) error {
	if size > MaxSize {
		return fmt.Errorf("disk: %w: %d bytes", ErrSize, size)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("disk: grow: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = errors.Join(f.Truncate(size), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("disk: grow: %w", err)
	}
	return nil
}

// write makes a file anew in place of what a crash may have left.
func write(path string, size int64, id uuid.UUID) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unpack(f)
	if err == nil {
		err = identify(f, id)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// unpack writes what the template has, and leaves holes for the rest.
func unpack(f *os.File) error {
	z, err := zstd.NewReader(bytes.NewReader(template), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	zero, buf := make([]byte, piece), make([]byte, piece)
	for at := int64(0); at < templateSize; at += piece {
		if _, err := io.ReadFull(z, buf); err != nil {
			return fmt.Errorf("template: %w", err)
		}
		if bytes.Equal(buf, zero) {
			continue
		}
		if _, err := f.WriteAt(buf, at); err != nil {
			return err
		}
	}
	return nil
}

// Where things are in a superblock of Btrfs.
const (
	superSize  = 4096
	atFSID     = 0x20
	atMagic    = 0x40
	atIncompat = 0xbc
	atSumType  = 0xc4
	atMetaUUID = 0x23b

	magic            = "_BHRfS_M"
	featMetadataUUID = 1 << 10
	sumCRC32C        = 0
)

// supers are where a file system has its superblocks, the last one where it is large
// enough.
var supers = []int64{64 << 10, 64 << 20, 256 << 30}

// identify gives the file system an id: the new one in front, the one that its
// blocks hold beside it, unless that is there already.
func identify(f *os.File, id uuid.UUID) error {
	for n, at := range supers {
		b := make([]byte, superSize)
		_, err := f.ReadAt(b, at)
		there := string(b[atMagic:atMagic+len(magic)]) == magic
		switch {
		case n > 0 && (errors.Is(err, io.EOF) || err == nil && !there):
			continue // the file system is smaller than that
		case err != nil:
			return err
		case !there, binary.LittleEndian.Uint16(b[atSumType:]) != sumCRC32C:
			return fmt.Errorf("no superblock of ours at %d", at)
		}
		features := binary.LittleEndian.Uint64(b[atIncompat:])
		if features&featMetadataUUID == 0 {
			copy(b[atMetaUUID:atMetaUUID+16], b[atFSID:atFSID+16])
		}
		copy(b[atFSID:atFSID+16], id[:])
		binary.LittleEndian.PutUint64(b[atIncompat:], features|featMetadataUUID)
		binary.LittleEndian.PutUint32(b, crc32.Checksum(b[atFSID:], crc32.MakeTable(crc32.Castagnoli)))
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return nil
}
