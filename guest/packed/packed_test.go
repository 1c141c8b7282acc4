package packed

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// pack compresses; dictionary is how much a reader of the result has to keep.
func pack(t *testing.T, format, text string, dictionary int) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case "plain":
		return []byte(text)
	case "gzip":
		w = gzip.NewWriter(&b)
	case "xz":
		w, err = xz.WriterConfig{DictCap: dictionary}.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b, zstd.WithWindowSize(dictionary), zstd.WithSingleSegment(false))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(data []byte) (string, error) {
	r, done, err := Open(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	defer done()
	got, err := io.ReadAll(r)
	return string(got), err
}

func TestOpen(t *testing.T) {
	text := strings.Repeat("some text; ", 10_000)
	for _, format := range []string{"plain", "gzip", "xz", "zstd"} {
		data := pack(t, format, text, 1<<20)
		if got, err := read(data); err != nil || got != text {
			t.Errorf("%s: %d bytes, %v", format, len(got), err)
		}
		if format == "plain" {
			continue
		}
		for _, n := range []int{7, len(data) / 2, len(data) - 1} {
			if _, err := read(data[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut after %d of %d: %v", format, n, len(data), err)
			}
		}
	}
	for _, short := range []string{"x", "\x1f", "\xfd7zX"} {
		if got, err := read([]byte(short)); err != nil || got != short {
			t.Errorf("%q: %q, %v", short, got, err)
		}
	}
	if _, err := read(nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("nothing: %v", err)
	}
	broken := errors.New("the disk is broken")
	if _, _, err := Open(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A few bytes can't make a reader take more memory than the tools would.
func TestGreed(t *testing.T) {
	if _, err := read(pack(t, "xz", "text", xzDictionary*2)); err == nil || !strings.Contains(err.Error(), "xz") {
		t.Errorf("a dictionary of %d: %v", xzDictionary*2, err)
	}
	if _, err := read(pack(t, "zstd", strings.Repeat("x", 3<<20), zstdWindow*2)); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("a window of %d: %v", zstdWindow*2, err)
	}
}
