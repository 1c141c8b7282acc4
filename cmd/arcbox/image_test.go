package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
)

// imageBench has a home of its own, and no engine.
func imageBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, nil)
	// Sockets are limited in length, and are not what this is about.
	dir, err := os.MkdirTemp("", "arcbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b.env = func(name string) string { return map[string]string{home.Var: dir}[name] }
	return b
}

// again runs one more command in the same home.
func (b *bench) again(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	b.out.Reset()
	b.err.Reset()
	b.format, b.quiet, b.ran = "", false, false
	code = b.run(t, args...)
	return code, b.out.String(), b.err.String()
}

func rootTar(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range map[string]string{"etc/os-release": "ID=alpine\nVERSION_ID=3.22.1\n", "content": content} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rootFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.tar")
	if err := os.WriteFile(path, rootTar(t, content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageLife(t *testing.T) {
	b := imageBench(t)
	if code, out, err := b.again(t, "image", "ls"); code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(err, "arcbox image pull") {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	path := rootFile(t, "one")
	code, out, err := b.again(t, "image", "import", path)
	digest := strings.TrimSpace(out)
	if code != 0 || len(digest) != 71 || !strings.Contains(err, "base is alpine 3.22.1, ") {
		t.Fatalf("exit %d, %q, %q", code, out, err)
	}
	if code, out, _ := b.again(t, "image", "import", path, "--name", "web:1", "-q"); code != 0 || out != digest+"\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	code, out, _ = b.again(t, "image", "ls")
	for _, want := range []string{"NAME", "base", "web:1", "3.22.1", digest[7:19]} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %s in\n%s", code, want, out)
		}
	}
	if code, out, _ := b.again(t, "image", "ls", "-q"); code != 0 || out != "base\nweb:1\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	code, out, _ = b.again(t, "image", "inspect", digest[7:15], "--format", "json")
	var got image.Image
	if code != 0 || json.Unmarshal([]byte(out), &got) != nil || got.Digest != digest || len(got.Names) != 2 {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, _ := b.again(t, "image", "inspect", "base"); code != 0 || !strings.Contains(out, "source:        "+path+"\n") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, err := b.again(t, "image", "rm", "base", "nothing"); code != 3 || out != "" || !strings.Contains(err, `"nothing"`) {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	if code, out, err := b.again(t, "image", "rm", "web:1"); code != 0 || out != digest+"\n" || !strings.Contains(err, "freed") {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	if code, out, _ := b.again(t, "image", "ls", "--format", "json"); code != 0 || out != "[]\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestImagePrune(t *testing.T) {
	b := imageBench(t)
	_, old, _ := b.again(t, "image", "import", rootFile(t, "old"))
	_, now, _ := b.again(t, "image", "import", rootFile(t, "new"))
	if old == now {
		t.Fatal("two roots are one image")
	}
	if code, out, _ := b.again(t, "image", "ls", "-q"); code != 0 || out != "base\n"+old && out != old+"base\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, out, _ := b.again(t, "image", "prune"); code != 0 || out != old {
		t.Errorf("exit %d, %q", code, out)
	}
	code, out, _ := b.again(t, "image", "prune", "-a", "--format", "json")
	var got image.Removed
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Bytes == 0 || got.Digests[0]+"\n" != now || got.Names[0] != "base" {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, _ := b.again(t, "image", "prune", "--format", "json"); code != 0 || strings.Contains(out, "null") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// The keys of an image in JSON are only ever added to.
func TestImageJSONKeys(t *testing.T) {
	b := imageBench(t)
	_, out, _ := b.again(t, "image", "import", rootFile(t, "one"), "--format", "json")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"format", "digest", "size", "files", "created", "origin", "names", "path"} {
		if _, ok := got[key]; !ok {
			t.Errorf("no %s in %s", key, out)
		}
	}
	origin, _ := got["origin"].(map[string]any)
	want := map[string]any{"kind": "tarball", "reference": origin["reference"], "distribution": "alpine", "version": "3.22.1", "architecture": origin["architecture"]}
	if d := cmp.Diff(want, origin); d != "" {
		t.Error(d)
	}
}

func TestImagePull(t *testing.T) {
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(rootTar(t, "pulled")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/streams/v1/index.json":
			fmt.Fprint(w, `{"index": {"images": {"datatype": "image-downloads", "path": "images.json"}}}`)
		case "/images.json":
			fmt.Fprintf(w, `{"products": {"a": {"aliases": "alpine/3.22", "arch": %q, "os": "Alpine", "release": "3.22", "variant": "default",
				"versions": {"1": {"items": {"root.tar.xz": {"ftype": "root.tar.xz", "path": "r", "sha256": "%x"}}}}}}}`,
				runtime.GOARCH, sha256.Sum256(packed.Bytes()))
		case "/r":
			_, _ = w.Write(packed.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	b := imageBench(t)
	if code, out, err := b.again(t, "image", "pull", "alpine", "--server", web.URL); code != 0 || !strings.HasPrefix(out, "sha256:") {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	inner := b.env
	b.env = func(name string) string {
		if name == serverVar {
			return web.URL
		}
		return inner(name)
	}
	if code, _, err := b.again(t, "image", "pull", "alpin"); code != 3 || !strings.Contains(err, "it has alpine") {
		t.Errorf("exit %d, %q", code, err)
	}
	if code, _, err := b.again(t, "image", "pull", "alpine:4", "--format", "json"); code != 3 || !strings.Contains(err, `"not-found"`) || !strings.Contains(err, "alpine:3.22") {
		t.Errorf("exit %d, %q", code, err)
	}
}

func TestImageRefusals(t *testing.T) {
	b := imageBench(t)
	path := rootFile(t, "one")
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"image":                                  {0, ""},
		"image pul":                              {2, "pull"},
		"image pull":                             {2, "reference of an image is missing"},
		"image pull a b":                         {2, "at most 1"},
		"image pull library/alpine":              {2, "docker.io/library/alpine"},
		"image pull http://127.0.0.1:1/x":        {2, "SHA-256"},
		"image import /no/such.tar":              {1, "no such file"},
		"image import " + path + " --sha256 abc": {2, "64 hexadecimal digits"},
		"image import " + path + " --name A":     {2, "lower-case"},
		"image import " + path + " --sha256 " + strings.Repeat("0", 64): {7, "wrong digest"},
		"image inspect none":   {3, "no such image"},
		"image rm":             {2, "missing"},
		"image ls x":           {2, "no argument"},
		"image prune x":        {2, "no argument"},
		"image import ../none": {1, "no such file"},
	} {
		code, _, err := b.again(t, strings.Fields(args)...)
		if code != want.code || !strings.Contains(err, want.says) {
			t.Errorf("%s: exit %d, %q; want %d, %s", args, code, err, want.code, want.says)
		}
	}
	for err, code := range map[error]int{
		fmt.Errorf("x: %w", &image.InUseError{Image: "a", Users: []string{"web"}}): 4,
		fmt.Errorf("x: %w", pull.ErrStalled):                                       5,
		fmt.Errorf("x: %w", syscall.ENOSPC):                                        1,
		errors.New("x"):                                                            1,
	} {
		if f := understood(imageFailure(err)); f.code != code {
			t.Errorf("%v: exit %d, want %d", err, f.code, code)
		}
	}
}

func TestImageImportStream(t *testing.T) {
	b := imageBench(t)
	data := rootTar(t, "one")
	path := filepath.Join(t.TempDir(), "base.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, want, _ := b.again(t, "image", "import", path)
	for _, c := range []struct {
		args  string
		stdin []byte
		code  int
		says  string
	}{
		{"- second", data, 0, "second is alpine"},
		{"- --name third", data, 0, "third is alpine"},
		{"- same --name same --sha256 " + fmt.Sprintf("%x", sha256.Sum256(data)), data, 0, "same is alpine"},
		{path + " fourth", nil, 0, "fourth is alpine"},
		{"-", data, 2, "arcbox image import - NAME"},
		{"- one --name two", data, 2, `"one"`},
		{"- UPPER", data, 2, "lower-case"},
		{"- cut", data[:1000], 1, "cut off"},
		{"- other --sha256 " + strings.Repeat("0", 64), data, 7, "wrong digest"},
		{"- other --sha256 0", data, 2, "64 hexadecimal digits"},
	} {
		b.stdin = bytes.NewReader(c.stdin)
		code, out, err := b.again(t, append([]string{"image", "import"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(err, c.says) || (code == 0) != (out == want) {
			t.Errorf("%s: exit %d, %q, %q; want %d, %s", c.args, code, out, err, c.code, c.says)
		}
	}
	if _, out, _ := b.again(t, "image", "ls", "-q"); out != "base\nfourth\nsame\nsecond\nthird\n" {
		t.Errorf("%q", out)
	}
}

// Ctrl-C ends an import also while its stream says nothing.
func TestImageStreamInterrupted(t *testing.T) {
	b := imageBench(t)
	silent, speaks := io.Pipe()
	defer silent.Close()
	b.stdin = silent
	go func() {
		_, _ = speaks.Write(rootTar(t, "one")[:600])
		b.sent <- syscall.SIGINT
	}()
	if code, out, err := b.again(t, "image", "import", "-", "base"); code != 130 || out != "" {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
}

// Ctrl-C ends the pull, and nothing of it is left.
func TestImageInterrupted(t *testing.T) {
	begun, over := make(chan struct{}), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(rootTar(t, "one")[:600])
		w.(http.Flusher).Flush()
		close(begun)
		<-r.Context().Done()
		close(over)
	}))
	defer web.Close()
	b := imageBench(t)
	go func() { <-begun; b.sent <- syscall.SIGINT }()
	code, out, _ := b.again(t, "image", "import", web.URL+"/r.tar", "--sha256", strings.Repeat("0", 64))
	if code != 130 || out != "" {
		t.Errorf("exit %d, %q", code, out)
	}
	<-over
	left, err := os.ReadDir(filepath.Join(b.env(home.Var), "data", "images", "stage"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestImageCompletion(t *testing.T) {
	b := imageBench(t)
	b.again(t, "image", "import", rootFile(t, "one"), "--name", "web:1")
	if code, out, _ := b.again(t, "__complete", "image", "rm", ""); code != 0 || !strings.Contains(out, "web:1\talpine 3.22.1") {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestPullBar(t *testing.T) {
	var to bytes.Buffer
	b := &pullBar{what: "debian:12", to: &to}
	for _, p := range []pull.Progress{
		{Phase: pull.Resolving}, {Phase: pull.Downloading, Done: 0, Total: 4 << 20}, {Phase: pull.Downloading, Done: 2 << 20, Total: 4 << 20},
	} {
		b.hear(p)
	}
	if s := to.String(); !strings.Contains(s, "debian:12 downloading  50%") {
		t.Errorf("%q", s)
	}
	b.wipe()
	if last := to.String()[strings.LastIndex(to.String(), "%"):]; !strings.Contains(last, "\r") {
		t.Errorf("it is not wiped: %q", last)
	}
}

func TestRoundSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 224382976: "214.0 MiB", 3 << 40: "3.0 TiB"} {
		if got := roundSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if got := short("sha256:" + strings.Repeat("a", 64)); got != strings.Repeat("a", 12) || age(time.Hour) == "" {
		t.Errorf("%s", got)
	}
}
