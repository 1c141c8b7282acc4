package pull

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// hub is a registry in this process.
type hub struct {
	host  string
	blobs atomic.Int64 // layers and configurations that were asked for
	// spoil, where set, changes a blob on its way.
	spoil func(http.ResponseWriter) http.ResponseWriter
	user  string // "user:password", where one is needed
}

func newHub(t testing.TB) *hub {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's own
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.user != "" && r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(h.user)) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors": [{"code": "UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			h.blobs.Add(1)
			if h.spoil != nil {
				w = h.spoil(w)
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	h.host = strings.TrimPrefix(web.URL, "http://")
	return h
}

func (h *hub) ref(t testing.TB, repo string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(h.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// container is an image with these layers.
func container(t testing.TB, arch string, layers ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func (h *hub) push(t testing.TB, repo string, img v1.Image) string {
	t.Helper()
	if err := remote.Write(h.ref(t, repo), img); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestContainerImages(t *testing.T) {
	h := newHub(t)
	amd := container(t, "amd64",
		archiveOf(t, "etc/", "etc/os-release=ID=alpine\nVERSION_ID=3.22.1\n", "etc/gone=1", "d/old=1", "d/sub/older=1"),
		archiveOf(t, "etc/.wh.gone=", "d/new=2", "d/.wh..wh..opq=", "arch=amd64"),
	)
	arm := container(t, "arm64", archiveOf(t, "arch=arm64"))
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
	)
	if err := remote.WriteIndex(h.ref(t, "lib/both:1"), both); err != nil {
		t.Fatal(err)
	}
	digest, err := amd.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Architecture: "amd64"})
	i := pull(t, s, parsed(t, h.host+"/lib/both:1"))
	want := image.Origin{Kind: image.OCI, Reference: h.host + "/lib/both:1", Digest: digest.String(), Distribution: "alpine", Version: "3.22.1", Architecture: "amd64"}
	if d := cmp.Diff(want, i.Origin); d != "" {
		t.Error(d)
	}
	files := contents(t, i)
	if d := cmp.Diff([]string{".", "arch", "d", "d/new", "etc", "etc/os-release"}, erofstest.Names(files)); d != "" {
		t.Error(d)
	}
	asked := h.blobs.Load()
	pull(t, s, parsed(t, h.host+"/lib/both:1"))
	if n := h.blobs.Load() - asked; n > 1 { // its configuration says for which platform it is
		t.Errorf("%d blobs of what is there", n)
	}
	clean(t, s, 1)
	other := open(t, Options{Architecture: "arm64"})
	if f := contents(t, pull(t, other, parsed(t, h.host+"/lib/both:1")))["arch"]; f.Data != erofstest.Sum("arm64") {
		t.Errorf("%+v", f)
	}
	// A tag that moves is pulled anew, one that is gone is said so.
	h.push(t, "lib/both:1", container(t, "amd64", archiveOf(t, "arch=new")))
	if f := contents(t, pull(t, s, parsed(t, h.host+"/lib/both:1")))["arch"]; f.Data != erofstest.Sum("new") {
		t.Errorf("%+v", f)
	}
	clean(t, s, 2)
	if _, err := s.Pull(t.Context(), parsed(t, h.host+"/lib/none:1"), nil); err == nil || !strings.Contains(err.Error(), "NAME_UNKNOWN") {
		t.Errorf("%v", err)
	}
}

func TestOtherPlatforms(t *testing.T) {
	h := newHub(t)
	h.push(t, "arm:1", container(t, "arm64", archiveOf(t, "a=1")))
	if err := remote.WriteIndex(h.ref(t, "index:1"), mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: container(t, "s390x", archiveOf(t, "a=1")), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}},
	})); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Architecture: "amd64"})
	for repo, want := range map[string]string{"/arm:1": "for linux/arm64, and this is linux/amd64", "/index:1": "it is for linux/s390x"} {
		if _, err := s.Pull(t.Context(), parsed(t, h.host+repo), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", repo, err)
		}
	}
	clean(t, s, 0)
}

func TestWhoWeAreForARegistry(t *testing.T) {
	h := newHub(t)
	h.push(t, "secret:1", container(t, "amd64", archiveOf(t, "a=1")))
	h.user = "me:secret"
	s := open(t, Options{Architecture: "amd64"})
	if _, err := s.Pull(t.Context(), parsed(t, h.host+"/secret:1"), nil); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("%v", err)
	}
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, h.host, base64.StdEncoding.EncodeToString([]byte(h.user)))
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	pull(t, s, parsed(t, h.host+"/secret:1"))
	clean(t, s, 1)
}

// flipped changes the first byte of an answer.
type flipped struct {
	http.ResponseWriter
	done bool
}

func (f *flipped) Write(p []byte) (int, error) {
	if !f.done && len(p) > 0 {
		f.done = true
		p = append([]byte{p[0] ^ 1}, p[1:]...)
	}
	return f.ResponseWriter.Write(p)
}

func TestBadLayers(t *testing.T) {
	h := newHub(t)
	h.push(t, "good:1", container(t, "amd64", archiveOf(t, "a=1"), archiveOf(t, "b="+strings.Repeat("x", 1<<20))))
	h.push(t, "outside:1", container(t, "amd64", archiveOf(t, "a=1"), archiveOf(t, "../b=2")))
	h.push(t, "empty:1", container(t, "amd64"))
	foreign, err := mutate.AppendLayers(container(t, "amd64"), static.NewLayer([]byte("x"), types.MediaType("application/vnd.example.thing")))
	if err != nil {
		t.Fatal(err)
	}
	h.push(t, "thing:1", foreign)
	s := open(t, Options{Architecture: "amd64"})
	for repo, want := range map[string]string{
		"/outside:1": rootfs.ErrOutside.Error(), "/empty:1": "0 layers", "/thing:1": "vnd.example.thing",
	} {
		if _, err := s.Pull(t.Context(), parsed(t, h.host+repo), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", repo, err)
		}
		clean(t, s, 0)
	}
	h.spoil = func(w http.ResponseWriter) http.ResponseWriter { return &flipped{ResponseWriter: w} }
	if _, err := s.Pull(t.Context(), parsed(t, h.host+"/good:1"), nil); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("a changed byte: %v", err)
	}
	clean(t, s, 0)
	h.spoil = nil
	pull(t, s, parsed(t, h.host+"/good:1"))
	clean(t, s, 1)
}

// stuck is an answer that never ends.
type stuck struct {
	http.ResponseWriter
	begun chan struct{}
	over  <-chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:len(p)/2])
	if f, ok := s.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	s.begun <- struct{}{}
	<-s.over
	return n, errors.Join(err, io.ErrShortWrite)
}

func TestGivingUpALayer(t *testing.T) {
	h := newHub(t)
	h.push(t, "good:1", container(t, "amd64", archiveOf(t, "a="+strings.Repeat("x", 1<<20))))
	s := open(t, Options{Architecture: "amd64"})
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{}, 10)
	h.spoil = func(w http.ResponseWriter) http.ResponseWriter { return &stuck{w, begun, ctx.Done()} }
	go func() { <-begun; cancel() }()
	if _, err := s.Pull(ctx, parsed(t, h.host+"/good:1"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
}

// What is wrong with one layer ends the others at once.
func TestOneBadLayerStopsTheOthers(t *testing.T) {
	h := newHub(t)
	h.push(t, "good:1", container(t, "amd64", archiveOf(t, "b=1"), archiveOf(t, "a="+strings.Repeat("x", 1<<20))))
	s := open(t, Options{Architecture: "amd64"})
	s.stall = time.Hour
	over, begun := make(chan struct{}), make(chan struct{}, 10)
	var blobs atomic.Int64
	h.spoil = func(w http.ResponseWriter) http.ResponseWriter {
		switch blobs.Add(1) {
		case 1:
			return w // the configuration
		case 2:
			return &stuck{w, begun, over}
		}
		<-begun
		return &flipped{ResponseWriter: w}
	}
	ended := make(chan error, 1)
	go func() { _, err := s.Pull(context.Background(), parsed(t, h.host+"/good:1"), nil); ended <- err }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "sha256") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the other layer")
	}
	close(over)
	clean(t, s, 0)
}

func TestStalledLayer(t *testing.T) {
	h := newHub(t)
	h.push(t, "good:1", container(t, "amd64", archiveOf(t, "b=1"), archiveOf(t, "a="+strings.Repeat("x", 1<<20))))
	s := open(t, Options{Architecture: "amd64"})
	s.stall = 50 * time.Millisecond
	over := make(chan struct{})
	var blobs atomic.Int64
	h.spoil = func(w http.ResponseWriter) http.ResponseWriter {
		if blobs.Add(1) == 1 {
			return w // the configuration
		}
		return &stuck{w, make(chan struct{}, 10), over}
	}
	_, err := s.Pull(t.Context(), parsed(t, h.host+"/good:1"), nil)
	close(over)
	if !errors.Is(err, ErrStalled) {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
}

// A tar as a layer may have no end mark: its digest says that it is whole.
func TestLayerWithoutEndMark(t *testing.T) {
	h := newHub(t)
	whole := archiveOf(t, "a=1")
	h.push(t, "short:1", container(t, "amd64", whole[:len(whole)-1024]))
	s := open(t, Options{Architecture: "amd64"})
	if f := contents(t, pull(t, s, parsed(t, h.host+"/short:1"))); f["a"].Mode&0o170000 != 0o100000 || tar.TypeReg != '0' {
		t.Errorf("%+v", f)
	}
}
