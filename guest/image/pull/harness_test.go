package pull

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
)

// rig is a store, its sources, and where it is.
type rig struct {
	*Sources
	dir string
}

func open(t testing.TB, o Options) *rig {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "images")
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	sources := Into(s, o)
	t.Cleanup(sources.Close)
	sources.free = func(string) (uint64, error) { return 1 << 40, nil } // whatever this host has
	return &rig{sources, dir}
}

func file(t testing.TB, data []byte) image.Ref {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rootfs.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return parsed(t, path)
}

func parsed(t testing.TB, s string) image.Ref {
	t.Helper()
	r, err := image.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pull(t testing.TB, s *rig, r image.Ref) image.Image {
	t.Helper()
	i, err := s.Pull(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// contents reads an image, and checks that its digest is what its name says.
func contents(t testing.TB, i image.Image) map[string]erofstest.File {
	t.Helper()
	data, err := os.ReadFile(i.Path)
	if err != nil {
		t.Fatal(err)
	}
	if "sha256:"+imagetest.Sum(data) != i.Digest || int64(len(data)) != i.Size {
		t.Errorf("%s has %d bytes and another digest", i.Digest, len(data))
	}
	files, err := erofstest.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// clean checks that nothing is in the store but so many images.
func clean(t testing.TB, s *rig, images int) {
	t.Helper()
	var found []string
	err := filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(s.dir, path); !slices.Contains([]string{".", "lock", "names.json", "stage"}, rel) {
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2*images {
		t.Errorf("in the store are %v, want %d images", found, images)
	}
	if list, err := s.store.List(); err != nil || len(list) != images {
		t.Errorf("%d images are listed, want %d (%v)", len(list), images, err)
	}
}

// wait gives a condition time to come true.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: it never came", what)
		case <-tick.C:
		}
	}
}

var errFull = errors.New("no space left on the test's device")

// full is a file on a disk that gets full.
type full struct {
	*os.File
	room int64
}

func (f full) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.room {
		n := max(0, f.room-at)
		_, err := f.File.WriteAt(p[:n], at)
		return int(n), errors.Join(errFull, err)
	}
	return f.File.WriteAt(p, at)
}

func (f full) Sync() error {
	if f.room == 0 {
		return errFull
	}
	return f.File.Sync()
}
