package pull

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
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

// archive is a tar of files: "name=content", or "name/" for a directory.
func archiveOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		name, content, ok := strings.Cut(f, "=")
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg, ModTime: time.Unix(1, 0)}
		if !ok {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// root is an archive that takes a few blocks, told from others by its content.
func root(t testing.TB, content string) []byte {
	return archiveOf(t, "etc/", "etc/os-release=ID=test\nVERSION_ID=\"1.2\"\n", "content="+content, "big="+strings.Repeat("x", 300_000))
}

func squeezed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sumOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

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
	if "sha256:"+sumOf(data) != i.Digest || int64(len(data)) != i.Size {
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

// site serves files by their path, and counts who asks.
type site struct {
	*httptest.Server
	files map[string][]byte
	mu    sync.Mutex
	asked map[string]int
	// gate, where set, is what an answer waits for after its first half.
	gate chan struct{}
	half chan struct{}
}

func serve(t testing.TB, files map[string][]byte) *site {
	s := &site{files: files, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	data, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	s.asked[r.URL.Path]++
	gate, half := s.gate, s.half
	s.mu.Unlock()
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if gate == nil {
		_, _ = w.Write(data)
		return
	}
	_, _ = w.Write(data[:len(data)/2])
	w.(http.Flusher).Flush()
	half <- struct{}{}
	select {
	case <-gate:
		_, _ = w.Write(data[len(data)/2:])
	case <-r.Context().Done():
	}
}

// gated makes every answer stop in the middle.
func (s *site) gated() *site {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate, s.half = make(chan struct{}), make(chan struct{}, 100)
	return s
}

// downloads is how often a path was asked for.
func (s *site) downloads(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
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
