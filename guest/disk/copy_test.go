package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
)

// aDisk is one that a guest has written to, here and there.
func aDisk(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.img")
	if err := Make(path, size, uuid.New()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, at := range []int64{100 << 20, 130<<20 + 4096, 5 << 30} {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 3<<20), at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func nobody(int64, int64) error { return nil }

// sameBytes tells whether two files of one length have the same in them, but for
// their superblocks.
func sameBytes(t *testing.T, a, b string) bool {
	t.Helper()
	fa, err := os.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	defer fb.Close()
	for _, at := range []int64{0, 90 << 20, 130 << 20, 5<<30 - 4096, 6<<30 - 8<<20} {
		x, y := make([]byte, 16<<20), make([]byte, 16<<20)
		n, errA := fa.ReadAt(x, at)
		m, errB := fb.ReadAt(y, at)
		for _, super := range supers {
			if i := super - at; i >= 0 && i < int64(len(x)) {
				clear(x[i : i+superSize])
				clear(y[i : i+superSize])
			}
		}
		if n != m || !errors.Is(errA, errB) && errA != nil || errA != nil && !errors.Is(errA, io.EOF) || !bytes.Equal(x, y) {
			t.Errorf("at %d: %d and %d bytes, %v, %v", at, n, m, errA, errB)
			return false
		}
	}
	return true
}

func superOf(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, superSize)
	if _, err := f.ReadAt(b, supers[0]); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCopy(t *testing.T) {
	from := aDisk(t, 6<<30)
	to, id, last := from+".copy", uuid.New(), int64(0)
	err := Copy(t.Context(), from, to, id, func(done, all int64) error {
		if done <= last || done > all {
			t.Errorf("%d of %d bytes, after %d", done, all, last)
		}
		last = done
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, from, to)
	was, is := superOf(t, from), superOf(t, to)
	if !bytes.Equal(is[atFSID:atFSID+16], id[:]) || !bytes.Equal(is[atMetaUUID:atMetaUUID+16], was[atMetaUUID:atMetaUUID+16]) || bytes.Equal(was[atFSID:atFSID+16], id[:]) {
		t.Errorf("ids %x, %x; of the source %x, %x", is[atFSID:atFSID+16], is[atMetaUUID:atMetaUUID+16], was[atFSID:atFSID+16], was[atMetaUUID:atMetaUUID+16])
	}
	a, err := Used(from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Used(to)
	if err != nil || a.Size != b.Size || b.Allocated > a.Allocated+1<<20 {
		t.Errorf("the source uses %+v, the copy %+v, %v", a, b, err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := Copy(t.Context(), from, to, uuid.New(), nobody); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another disk: %v", err)
	}
	if !bytes.Equal(superOf(t, to), is) {
		t.Error("which was written to")
	}
}

// TestCopyLeavesNothing: what is given up, or can't be, leaves no file.
func TestCopyLeavesNothing(t *testing.T) {
	from := aDisk(t, 6<<30)
	full := errors.New("the disk is full")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	other := filepath.Join(t.TempDir(), "other.img")
	if err := errors.Join(os.WriteFile(other, nil, 0o600), os.Truncate(other, MinSize)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		ctx  context.Context
		from string
		step error
	}{
		"ended":   {over, from, nil},
		"full":    {t.Context(), from, full},
		"no disk": {t.Context(), other, nil},
		"nothing": {t.Context(), from + ".none", nil},
	} {
		dir := t.TempDir()
		to := filepath.Join(dir, "data.img")
		if err := os.WriteFile(to+stage, []byte("what a crash left"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Copy(c.ctx, c.from, to, uuid.New(), func(int64, int64) error { return c.step })
		if err == nil || c.step != nil && !errors.Is(err, c.step) {
			t.Errorf("%s: %v", what, err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 && what != "nothing" {
			t.Errorf("%s: left %v, %v", what, left, err)
		}
	}
}
