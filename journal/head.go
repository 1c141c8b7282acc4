package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A slot of the head file is
//
//	magic:4 seq:8 hash:32 checksum:8
//
// where the checksum is the first bytes of the SHA-256 of what stands before
// it. The slots lie in different sectors, so that a torn write spoils one.
const (
	headMagic  = "axh1"
	headSum    = 4 + 8 + hashSize
	headSlot   = headSum + 8
	headStride = 4096
)

// head is the open head file.
type head struct {
	file vfs.File
	slot int64 // the one to be written next
}

// createHead makes a durable head file of an empty journal.
func createHead(fs vfs.FS, dir string, seq uint64, h hash) error {
	f, err := fs.Create(headPath(fs, dir), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create the head file: %w", err)
	}
	buf := make([]byte, 2*headStride)
	copy(buf, encodeHead(seq, h))
	_, err = f.Write(buf)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the head file: %w", err)
	}
	return syncDir(fs, dir)
}

func headPath(fs vfs.FS, dir string) string { return fs.PathJoin(dir, "head") }

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// readHead returns the younger slot, and ok where there is a whole one.
func readHead(fs vfs.FS, dir string) (seq uint64, h hash, slot int64, ok bool, err error) {
	f, err := fs.Open(headPath(fs, dir))
	if err != nil {
		return 0, hash{}, 0, false, fmt.Errorf("open the head file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, headSlot)
	for i := range int64(2) {
		if _, err := f.ReadAt(buf, i*headStride); err != nil {
			if errors.Is(err, io.EOF) {
				continue
			}
			return 0, hash{}, 0, false, fmt.Errorf("read the head file: %w", err)
		}
		if s, sh, whole := decodeHead(buf); whole && (!ok || s > seq) {
			seq, h, slot, ok = s, sh, i, true
		}
	}
	return seq, h, slot, ok, nil
}

func openHead(fs vfs.FS, dir string, last int64) (*head, error) {
	f, err := fs.OpenReadWrite(headPath(fs, dir), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("open the head file: %w", err)
	}
	return &head{file: f, slot: 1 - last}, nil
}

// write notes the end of the journal. It does not sync.
func (h *head) write(seq uint64, sum hash) error {
	if _, err := h.file.WriteAt(encodeHead(seq, sum), h.slot*headStride); err != nil {
		return fmt.Errorf("write the head file: %w", err)
	}
	h.slot = 1 - h.slot
	return nil
}

func encodeHead(seq uint64, h hash) []byte {
	b := binary.BigEndian.AppendUint64([]byte(headMagic), seq)
	b = append(b, h[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:8]...)
}

func decodeHead(b []byte) (seq uint64, h hash, ok bool) {
	if len(b) != headSlot || string(b[:4]) != headMagic {
		return 0, hash{}, false
	}
	sum := sha256.Sum256(b[:headSum])
	if !bytes.Equal(sum[:8], b[headSum:]) {
		return 0, hash{}, false
	}
	return binary.BigEndian.Uint64(b[4:]), hash(b[12:headSum]), true
}
