package imagetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

// Tar is a tar of files: "name=content", or "name/" for a directory.
func Tar(t testing.TB, files ...string) []byte {
	t.Helper()
	var entries []tar.Header
	var contents []string
	for _, f := range files {
		name, content, ok := strings.Cut(f, "=")
		h := tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg, ModTime: time.Unix(1, 0)}
		if !ok {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		entries, contents = append(entries, h), append(contents, content)
	}
	return write(t, entries, contents)
}

// TarOf is a tar of entries without data, of any kind.
func TarOf(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	return write(t, entries, make([]string, len(entries)))
}

func write(t testing.TB, entries []tar.Header, contents []string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Root is an archive that takes a few blocks, told from others by its content.
func Root(t testing.TB, content string) []byte {
	t.Helper()
	return Tar(t, "etc/", "etc/os-release=ID=test\nVERSION_ID=\"1.2\"\n", "content="+content, "big="+strings.Repeat("x", 300_000))
}

// XZ compresses.
func XZ(t testing.TB, data []byte) []byte {
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

// Sum is a SHA-256 as the tools write it.
func Sum(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
