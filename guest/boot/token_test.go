package boot

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cavaliergopher/cpio"
	"pgregory.net/rapid"
)

// contents reads all segments of an initramfs as the kernel does: one archive
// after the other, with zeros between them.
func contents(t testing.TB, data []byte) map[string]*cpio.Header {
	t.Helper()
	files := map[string]*cpio.Header{}
	rest := bytes.NewReader(data)
	for rest.Len() > 0 {
		if b, _ := rest.ReadByte(); b == 0 {
			continue
		}
		if err := rest.UnreadByte(); err != nil {
			t.Fatal(err)
		}
		if at := int64(len(data)) - int64(rest.Len()); at%4 != 0 {
			t.Fatalf("a segment starts at %d, not at a multiple of 4", at)
		}
		r := cpio.NewReader(rest)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if h.Linkname == "" {
				h.Linkname = string(body)
			}
			files[h.Name] = h
		}
	}
	return files
}

// The token's segment is readable behind an archive of any length.
func TestAppendTokenProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		token := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(rt, "token")
		extra := rapid.IntRange(0, 9).Draw(rt, "zeros behind the base")
		var base bytes.Buffer
		body := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "body")
		a := &archive{w: cpio.NewWriter(&base)}
		a.add("init", cpio.TypeReg|0o755, body)
		if err := a.close(); err != nil {
			rt.Fatal(err)
		}
		base.Write(make([]byte, extra))
		from, to := filepath.Join(dir, "base"), filepath.Join(dir, "with")
		if err := os.WriteFile(from, base.Bytes(), 0o644); err != nil {
			rt.Fatal(err)
		}
		if err := AppendToken(to, token, []Secret{{"key", body}}, from); err != nil {
			rt.Fatal(err)
		}
		data, err := os.ReadFile(to)
		if err != nil {
			rt.Fatal(err)
		}
		files := contents(t, data)
		if got := files["arcbox/token"]; got.Mode != cpio.TypeReg|0o400 || got.Linkname != string(token) {
			rt.Errorf("token: mode %o, %q", got.Mode, got.Linkname)
		}
		if got := files["arcbox/key"]; got.Mode != cpio.TypeReg|0o400 || got.Linkname != string(body) {
			rt.Errorf("what lies beside: mode %o, %q", got.Mode, got.Linkname)
		}
		if files["init"].Linkname != string(body) || files["arcbox"].Mode != cpio.TypeDir|0o700 {
			rt.Error("the base does not come back")
		}
		if fi, err := os.Stat(to); err != nil || fi.Mode().Perm() != 0o600 {
			rt.Errorf("mode %v, %v; want 0600", fi.Mode(), err)
		}
	})
}

func TestAppendTokenRefusals(t *testing.T) {
	dir := t.TempDir()
	base := write(t, filepath.Join(dir, "base"), []byte("base"))
	for name, err := range map[string]error{
		"no token":     AppendToken(filepath.Join(dir, "a"), nil, nil, base),
		"long token":   AppendToken(filepath.Join(dir, "b"), make([]byte, maxToken+1), nil, base),
		"no base":      AppendToken(filepath.Join(dir, "c"), []byte("t"), nil, filepath.Join(dir, "nothing")),
		"base is dir":  AppendToken(filepath.Join(dir, "d"), []byte("t"), nil, dir),
		"no room":      AppendToken(filepath.Join(dir, "no", "dir"), []byte("t"), nil, base),
		"secret above": AppendToken(filepath.Join(dir, "e"), []byte("t"), []Secret{{"../x", nil}}, base),
		"no name":      AppendToken(filepath.Join(dir, "f"), []byte("t"), []Secret{{}}, base),
		"long secret":  AppendToken(filepath.Join(dir, "g"), []byte("t"), []Secret{{"x", make([]byte, maxSecret+1)}}, base),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestParseApplets(t *testing.T) {
	got, err := parseApplets("[\nbusybox\nsh\n")
	if err != nil || !slices.Equal(got, []string{"[", "sh"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "busybox", "../sh", "sbin/init", ".."} {
		if _, err := parseApplets(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func BenchmarkAppendToken(b *testing.B) {
	base := filepath.Join(b.TempDir(), "base")
	if err := os.WriteFile(base, make([]byte, 16<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	dst := filepath.Join(b.TempDir(), "dst")
	for b.Loop() {
		if err := AppendToken(dst, make([]byte, 32), nil, base); err != nil {
			b.Fatal(err)
		}
	}
}
