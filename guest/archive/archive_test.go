package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

const picture = "an EROFS file, as far as anybody here knows"

func sample(image bool) Manifest {
	m := Manifest{
		ArcBox: "1.2.3", Made: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Name: "web", Spec: json.RawMessage(`{"cpus":2}`),
		Image: &Image{Digest: digestText(picture), Name: "debian:12"}, Disk: &Disk{Size: 4 << 20},
	}
	if image {
		m.Image.Size, m.Image.Included = int64(len(picture)), true
	}
	return m
}

func digestText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

type chunk struct {
	at int64
	b  string
}

// written is an archive of these pieces.
func written(t testing.TB, m Manifest, chunks ...chunk) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, m)
	if err == nil && m.Image != nil && m.Image.Included {
		err = w.Image(strings.NewReader(picture))
	}
	for _, c := range chunks {
		if err == nil {
			err = w.Piece(c.at, []byte(c.b))
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads an archive whole.
func read(in []byte) (m Manifest, image string, chunks []chunk, err error) {
	a, err := NewReader(bytes.NewReader(in))
	if err != nil {
		return m, "", nil, err
	}
	defer a.Close()
	var picture bytes.Buffer
	err = a.Rest(&picture, func(at int64, b []byte) error {
		chunks = append(chunks, chunk{at, string(b)})
		return nil
	})
	return a.Manifest, picture.String(), chunks, err
}

func TestRoundTrip(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", maxPiece/16+100)
	for name, c := range map[string]struct {
		image     bool
		put, want []chunk
	}{
		"nothing":          {},
		"one":              {put: []chunk{{4096, "a"}}, want: []chunk{{4096, "a"}}},
		"those that touch": {put: []chunk{{0, "a"}, {1, "b"}, {3, "d"}}, want: []chunk{{0, "ab"}, {3, "d"}}},
		"a long one":       {image: true, put: []chunk{{8, long}}, want: []chunk{{8, long[:maxPiece]}, {8 + maxPiece, long[maxPiece:]}}},
		"the last byte":    {put: []chunk{{4<<20 - 1, "z"}}, want: []chunk{{4<<20 - 1, "z"}}},
	} {
		m, image, got, err := read(written(t, sample(c.image), c.put...))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) || (image == picture) != c.image {
			t.Errorf("%s: %d pieces, image %q, %v", name, len(got), image, err)
		}
		if m.Format != Format || m.Name != "web" || string(m.Spec) != `{"cpus":2}` && !strings.Contains(string(m.Spec), `"cpus": 2`) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestWithoutADisk(t *testing.T) {
	m := sample(false)
	m.Disk = nil
	if got, _, chunks, err := read(written(t, m)); err != nil || got.Disk != nil || chunks != nil {
		t.Errorf("%+v, %v, %v", got, chunks, err)
	}
	w, err := NewWriter(io.Discard, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Piece(0, []byte("x")); err == nil {
		t.Error("a piece of no disk was taken")
	}
}

// What is written wrongly is a fault here, and would be one of every reader.
func TestWriterRefuses(t *testing.T) {
	for name, f := range map[string]func(*Writer) error{
		"backwards":      func(w *Writer) error { return errors.Join(w.Piece(10, []byte("ab")), w.Piece(11, []byte("c"))) },
		"behind its end": func(w *Writer) error { return w.Piece(4<<20, []byte("a")) },
		"no image":       func(w *Writer) error { return w.Close() },
		"another image": func(w *Writer) error {
			return w.Image(strings.NewReader("another that is as long as it may well be here"))
		},
		"a short image": func(w *Writer) error { return w.Image(strings.NewReader("a")) },
		"a late image": func(w *Writer) error {
			return errors.Join(w.Piece(0, []byte("a")), w.Image(strings.NewReader(picture)))
		},
	} {
		w, err := NewWriter(io.Discard, sample(true))
		if err != nil {
			t.Fatal(err)
		}
		if f(w) == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

// Wherever an archive ends too early, it says so.
func TestTruncated(t *testing.T) {
	whole := written(t, sample(true), chunk{0, "abc"}, chunk{1 << 20, "def"})
	for n := range whole {
		if _, _, _, err := read(whole[:n]); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
	plain := unpacked(t, whole)
	for n := 0; n < len(plain)-1536; n += 97 { // behind the digests come padding and the tar's own end
		_, _, _, err := read(plain[:n])
		if err == nil || n > 512 && !strings.Contains(err.Error(), "ends") {
			t.Fatalf("%d bytes of %d, unpacked: %v", n, len(plain), err)
		}
	}
}

// Wherever a byte differs, what comes out is what was written, or an error.
func TestFlipped(t *testing.T) {
	want := []chunk{{0, "abc"}, {1 << 20, "def"}}
	whole := written(t, sample(true), want...)
	for step, form := range map[int][]byte{1: whole, 53: unpacked(t, whole)} {
		named := 0
		for n := 0; n < len(form); n += step {
			form[n] ^= 0x40
			m, image, got, err := read(form)
			form[n] ^= 0x40
			if err == nil && (fmt.Sprint(got) != fmt.Sprint(want) || image != picture || m.Name != "web") {
				t.Fatalf("byte %d of %d: taken for %+v %v", n, len(form), m, got)
			}
			if err != nil && errors.Is(err, ErrDamaged) {
				named++
			}
		}
		if named == 0 {
			t.Error("nobody called it damaged")
		}
	}
}

// What differs is named.
func TestSaysWhatDiffers(t *testing.T) {
	plain := unpacked(t, written(t, sample(true), chunk{0, "some text"}, chunk{1 << 20, "def"}))
	for _, c := range []struct{ old, new, want string }{
		{"some text", "some test", "the SHA-256 of the disk"},
		{picture, strings.ToUpper(picture), "the SHA-256 of image.erofs"},
		{`"name": "web"`, `"name": "wab"`, "the SHA-256 of manifest.json"},
		{`"pieces": 2`, `"pieces": 3`, "2 pieces of the disk with 12 bytes, and 3"},
	} {
		_, _, _, err := read(bytes.Replace(plain, []byte(c.old), []byte(c.new), 1))
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.old, err)
		}
	}
}

func unpacked(t testing.TB, in []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type member struct {
	name, text string
	kind       byte
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Size: int64(len(m.text)), Mode: 0o600}
		if m.kind != 0 {
			h.Typeflag, h.Size, h.Linkname, m.text = m.kind, 0, "../../etc/passwd", ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func manifestText(t testing.TB, change func(*Manifest)) member {
	t.Helper()
	m := sample(false)
	m.Format = Format
	change(&m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return member{name: manifestName, text: string(text)}
}

func TestHostile(t *testing.T) {
	good := manifestText(t, func(*Manifest) {})
	end := member{name: digestsName, text: "{}"}
	for name, c := range map[string]struct {
		in   []byte
		is   error
		says string
	}{
		"nothing":          {nil, ErrFormat, "nothing is in it"},
		"text":             {[]byte(strings.Repeat("no tar at all\n", 100)), ErrFormat, "no tar"},
		"another tar":      {tarOf(t, member{name: "etc/passwd", text: "root"}), ErrFormat, "etc/passwd"},
		"no JSON":          {tarOf(t, member{name: manifestName, text: "hello"}), ErrFormat, manifestName},
		"a huge manifest":  {tarOf(t, member{name: manifestName, text: strings.Repeat(" ", maxManifest+1)}), ErrFormat, "at most"},
		"a newer format":   {tarOf(t, manifestText(t, func(m *Manifest) { m.Format = 9 })), ErrNewer, "formats up to 1"},
		"an unknown key":   {tarOf(t, member{name: manifestName, text: `{"format":1,"tpm":true}`}), ErrFormat, "tpm"},
		"no format":        {tarOf(t, member{name: manifestName, text: `{}`}), ErrFormat, "format 0"},
		"a huge disk":      {tarOf(t, manifestText(t, func(m *Manifest) { m.Disk.Size = maxDisk + 1 })), ErrFormat, "a disk of"},
		"no image's disk":  {tarOf(t, manifestText(t, func(m *Manifest) { m.Image = nil })), ErrFormat, "without an image"},
		"an odd digest":    {tarOf(t, manifestText(t, func(m *Manifest) { m.Image.Digest = "sha256:../../x" })), ErrFormat, "../../x"},
		"a huge image":     {tarOf(t, manifestText(t, func(m *Manifest) { m.Image.Included, m.Image.Size = true, maxImage+1 })), ErrFormat, "an image of"},
		"no end":           {tarOf(t, good), ErrDamaged, digestsName},
		"a path":           {tarOf(t, good, member{name: "disk/../../x", text: "x"}, end), ErrFormat, "no place"},
		"an odd offset":    {tarOf(t, good, member{name: "disk/0", text: "x"}, end), ErrFormat, "no place"},
		"a negative one":   {tarOf(t, good, member{name: "disk/ffffffffffffffff", text: "x"}, end), ErrFormat, "no place"},
		"far behind":       {tarOf(t, good, member{name: "disk/7fffffffffffffff", text: "x"}, end), ErrFormat, "within a disk"},
		"backwards":        {tarOf(t, good, member{name: pieceName(8), text: "x"}, member{name: pieceName(8), text: "x"}, end), ErrFormat, "behind 9"},
		"an empty piece":   {tarOf(t, good, member{name: pieceName(8)}, end), ErrFormat, "of 0 bytes"},
		"a long piece":     {tarOf(t, good, member{name: pieceName(0), text: strings.Repeat("x", maxPiece+1)}, end), ErrFormat, "of 1048577 bytes"},
		"a link":           {tarOf(t, good, member{name: pieceName(8), kind: tar.TypeSymlink}, end), ErrFormat, "no plain file"},
		"a second one":     {tarOf(t, good, good, end), ErrFormat, "no place"},
		"an image unasked": {tarOf(t, good, member{name: imageName, text: picture}, end), ErrFormat, "no place"},
		"no disk's piece":  {tarOf(t, manifestText(t, func(m *Manifest) { m.Disk = nil }), member{name: pieceName(8), text: "x"}, end), ErrFormat, "has no disk"},
		"no image":         {tarOf(t, manifestText(t, func(m *Manifest) { m.Image.Included, m.Image.Size = true, 3 }), end), ErrDamaged, imageName},
		"no digests":       {tarOf(t, good, end), ErrDamaged, "SHA-256 of manifest.json"},
	} {
		_, _, _, err := read(c.in)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := unpacked(t, written(t, sample(false), chunk{0, "a"}))
	if _, _, _, err := read(append(m, make([]byte, maxFill+1)...)); !errors.Is(err, ErrDamaged) {
		t.Errorf("behind the end: %v", err)
	}
}

// An error of who takes the pieces is his, and ends the reading.
func TestTakersError(t *testing.T) {
	full := errors.New("no space left")
	a, err := NewReader(bytes.NewReader(written(t, sample(true), chunk{0, "a"}, chunk{9, "b"})))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	n := 0
	err = a.Rest(nil, func(int64, []byte) error { n++; return full })
	if !errors.Is(err, full) || errors.Is(err, ErrDamaged) || n != 1 {
		t.Errorf("%v after %d pieces", err, n)
	}
	if _, err := NewReader(io.MultiReader(strings.NewReader("x"), failing{full})); !errors.Is(err, full) {
		t.Errorf("a source that fails: %v", err)
	}
	late, err := NewReader(io.MultiReader(bytes.NewReader(unpacked(t, written(t, sample(true)))[:2048]), failing{full}))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := late.Rest(nil, nil); !errors.Is(err, full) || errors.Is(err, ErrDamaged) {
		t.Errorf("a source that fails later: %v", err)
	}
	b, err := NewReader(bytes.NewReader(written(t, sample(true))))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Rest(failing{full}, nil); !errors.Is(err, full) {
		t.Errorf("a store that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzReader: whatever comes, pieces stay within the disk and in order, and what is
// taken for whole has the digests of what came out.
func FuzzReader(f *testing.F) {
	whole := written(f, sample(true), chunk{0, "abc"}, chunk{1 << 20, "def"})
	plain := unpacked(f, whole)
	f.Add(whole)
	f.Add(plain)
	f.Add(plain[:len(plain)-1500])
	f.Add(tarOf(f, manifestText(f, func(m *Manifest) { m.Disk = nil }), member{name: digestsName, text: "{}"}))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, image, chunks, err := read(in)
		end := int64(0)
		for _, c := range chunks {
			if c.at < end || m.Disk == nil || c.at+int64(len(c.b)) > m.Disk.Size || c.b == "" {
				t.Fatalf("%d bytes at %d, behind %d of %+v", len(c.b), c.at, end, m.Disk)
			}
			end = c.at + int64(len(c.b))
		}
		if err != nil {
			return
		}
		if m.Image != nil && m.Image.Included && digestText(image) != m.Image.Digest {
			t.Fatalf("an image of %d bytes is not %s", len(image), m.Image.Digest)
		}
		sum := sha256.New()
		for _, c := range chunks {
			hashPiece(sum, pieceName(c.at), []byte(c.b))
		}
		if got := hex.EncodeToString(sum.Sum(nil)); m.Disk != nil && !bytes.Contains(in, []byte(got)) && bytes.Contains(in, []byte(manifestName)) {
			t.Fatalf("taken for whole, and nobody wrote the digest %s", got)
		}
	})
}
