package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/uuid"
)

func TestMake(t *testing.T) {
	path, id := filepath.Join(t.TempDir(), "data.img"), uuid.New()
	if err := os.WriteFile(path+stage, []byte("what a crash left"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Make(path, 50<<30, id); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 50<<30 || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if on := info.Sys().(*syscall.Stat_t).Blocks * 512; on > 8<<20 {
		t.Errorf("%d bytes on the disk of a disk that is empty", on)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range supers[:2] {
		b := make([]byte, superSize)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[atFSID:atFSID+16], id[:]) || bytes.Equal(b[atMetaUUID:atMetaUUID+16], id[:]) {
			t.Errorf("superblock at %d: id %x, of its metadata %x", at, b[atFSID:atFSID+16], b[atMetaUUID:atMetaUUID+16])
		}
		if sum := crc32.Checksum(b[atFSID:], crc32.MakeTable(crc32.Castagnoli)); binary.LittleEndian.Uint32(b) != sum {
			t.Errorf("superblock at %d: checksum %x, want %x", at, b[:4], sum)
		}
	}
	if _, err := os.Stat(path + stage); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stage is left: %v", err)
	}
}

// What is there is never made anew, whatever it is.
func TestMakeKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.img")
	if err := Make(path, MinSize, uuid.New()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("a guest's"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(MinSize+4096), f.Close(), Make(path, MinSize, uuid.New())); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || len(got) != MinSize+4096 || string(got[1<<20:1<<20+9]) != "a guest's" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	short := filepath.Join(t.TempDir(), "short.img")
	if err := os.WriteFile(short, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Make(short, MinSize, uuid.New()); err == nil {
		t.Error("a file that is no disk was taken for one")
	}
	if got, err := os.ReadFile(short); err != nil || string(got) != "x" {
		t.Errorf("it was written to: %q, %v", got, err)
	}
}

func TestMakeRefuses(t *testing.T) {
	for _, size := range []int64{-1, 0, MinSize - 1, MaxSize + 1} {
		path := filepath.Join(t.TempDir(), "data.img")
		if err := Make(path, size, uuid.New()); !errors.Is(err, ErrSize) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%d bytes: something was made", size)
		}
	}
	if err := Make(filepath.Join(t.TempDir(), "no", "data.img"), MinSize, uuid.New()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
	if err := Check(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
}

func BenchmarkMake(b *testing.B) {
	dir := b.TempDir()
	for i := range b.N {
		path := filepath.Join(dir, uuid.New().String())
		if err := Make(path, 50<<30, uuid.New()); err != nil {
			b.Fatal(i, err)
		}
	}
}

func TestGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.img")
	if err := Make(path, MinSize, uuid.New()); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, size int64 }{{60 << 30, 60 << 30}, {60 << 30, 60 << 30}, {MinSize, 60 << 30}} {
		if err := Grow(path, c.to); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() != c.size || info.Sys().(*syscall.Stat_t).Blocks != before.Sys().(*syscall.Stat_t).Blocks {
			t.Errorf("grown to %d: %v, %v", c.to, info, err)
		}
	}
	if err := Grow(path, MaxSize+1); !errors.Is(err, ErrSize) {
		t.Errorf("beyond the largest: %v", err)
	}
	if err := Grow(path+".none", MinSize); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
}
