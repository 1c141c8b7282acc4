package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sample writes a tar with the sizes of a small Debian: 8,000 files in 1,000
// directories, half of them below 4 KiB and a few of megabytes, 230 MB in all.
func sample(w io.Writer) error {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 32<<20)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	t := tar.NewWriter(w)
	for i := range 9000 {
		dir := fmt.Sprintf("usr/lib/d%02d/d%d", i%100, i/100%10)
		h := tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%s/f%d", dir, i), Mode: 0o644, ModTime: epoch}
		switch {
		case i < 1000:
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, dir, 0o755
		case i%100 == 0:
			h.Size = 1<<20 + random.Int64N(2<<20)
		case i%2 == 0:
			h.Size = random.Int64N(4 << 10)
		default:
			h.Size = random.Int64N(30 << 10)
		}
		if err := t.WriteHeader(&h); err != nil {
			return err
		}
		from := random.IntN(len(data) - int(h.Size))
		if _, err := t.Write(data[from:][:h.Size]); err != nil {
			return err
		}
	}
	return t.Close()
}

// BenchmarkErofs is a root file system to an image, on disk: by us from a tar
// in memory, and, where it is installed, by mkfs.erofs from a directory.
func BenchmarkErofs(b *testing.B) {
	var archive bytes.Buffer
	if err := sample(&archive); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	image := filepath.Join(dir, "image.erofs")
	b.Run("arcbox", func(b *testing.B) {
		b.SetBytes(int64(archive.Len()))
		for b.Loop() {
			f, err := os.Create(image)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := FromTar(b.Context(), f, DefaultLimits, layer(archive.Bytes())); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	mkfs, err := exec.LookPath("mkfs.erofs")
	if err != nil {
		return
	}
	root := filepath.Join(dir, "root")
	unpack(b, archive.Bytes(), root)
	b.Run("mkfs.erofs", func(b *testing.B) {
		b.SetBytes(int64(archive.Len()))
		for b.Loop() {
			if err := os.Remove(image); err != nil {
				b.Fatal(err)
			}
			if out, err := exec.Command(mkfs, "--quiet", image, root).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// unpack makes plain files of a tar.
func unpack(t testing.TB, archive []byte, root string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return
		}
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeDir || strings.HasSuffix(h.Name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
