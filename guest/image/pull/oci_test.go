package pull

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

func TestContainerImages(t *testing.T) {
	h := imagetest.NewHub(t)
	amd := imagetest.Container(t, "amd64",
		imagetest.Tar(t, "etc/", "etc/os-release=ID=alpine\nVERSION_ID=3.22.1\n", "etc/gone=1", "d/old=1", "d/sub/older=1"),
		imagetest.Tar(t, "etc/.wh.gone=", "d/new=2", "d/.wh..wh..opq=", "arch=amd64"),
	)
	arm := imagetest.Container(t, "arm64", imagetest.Tar(t, "arch=arm64"))
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
	)
	if err := remote.WriteIndex(h.Ref(t, "lib/both:1"), both); err != nil {
		t.Fatal(err)
	}
	digest, err := amd.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Architecture: "amd64"})
	i := pull(t, s, parsed(t, h.Host+"/lib/both:1"))
	want := image.Origin{Kind: image.OCI, Reference: h.Host + "/lib/both:1", Digest: digest.String(), Distribution: "alpine", Version: "3.22.1", Architecture: "amd64"}
	if d := cmp.Diff(want, i.Origin); d != "" {
		t.Error(d)
	}
	files := contents(t, i)
	if d := cmp.Diff([]string{".", "arch", "d", "d/new", "etc", "etc/os-release"}, erofstest.Names(files)); d != "" {
		t.Error(d)
	}
	asked := h.Blobs.Load()
	pull(t, s, parsed(t, h.Host+"/lib/both:1"))
	if n := h.Blobs.Load() - asked; n > 1 { // its configuration says for which platform it is
		t.Errorf("%d blobs of what is there", n)
	}
	clean(t, s, 1)
	other := open(t, Options{Architecture: "arm64"})
	if f := contents(t, pull(t, other, parsed(t, h.Host+"/lib/both:1")))["arch"]; f.Data != erofstest.Sum("arm64") {
		t.Errorf("%+v", f)
	}
	// A tag that moves is pulled anew, one that is gone is said so.
	h.Push(t, "lib/both:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "arch=new")))
	if f := contents(t, pull(t, s, parsed(t, h.Host+"/lib/both:1")))["arch"]; f.Data != erofstest.Sum("new") {
		t.Errorf("%+v", f)
	}
	clean(t, s, 2)
	if _, err := s.Pull(t.Context(), parsed(t, h.Host+"/lib/none:1"), nil); err == nil || !strings.Contains(err.Error(), "NAME_UNKNOWN") {
		t.Errorf("%v", err)
	}
}

func TestOtherPlatforms(t *testing.T) {
	h := imagetest.NewHub(t)
	h.Push(t, "arm:1", imagetest.Container(t, "arm64", imagetest.Tar(t, "a=1")))
	if err := remote.WriteIndex(h.Ref(t, "index:1"), mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: imagetest.Container(t, "s390x", imagetest.Tar(t, "a=1")), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}},
	})); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Architecture: "amd64"})
	for repo, want := range map[string]string{"/arm:1": "for linux/arm64, and this is linux/amd64", "/index:1": "it is for linux/s390x"} {
		if _, err := s.Pull(t.Context(), parsed(t, h.Host+repo), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", repo, err)
		}
	}
	clean(t, s, 0)
}

func TestWhoWeAreForARegistry(t *testing.T) {
	h := imagetest.NewHub(t)
	h.Push(t, "secret:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "a=1")))
	h.User = "me:secret"
	s := open(t, Options{Architecture: "amd64"})
	if _, err := s.Pull(t.Context(), parsed(t, h.Host+"/secret:1"), nil); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("%v", err)
	}
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, h.Host, base64.StdEncoding.EncodeToString([]byte(h.User)))
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	pull(t, s, parsed(t, h.Host+"/secret:1"))
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
	h := imagetest.NewHub(t)
	h.Push(t, "good:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "a=1"), imagetest.Tar(t, "b="+strings.Repeat("x", 1<<20))))
	h.Push(t, "outside:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "a=1"), imagetest.Tar(t, "../b=2")))
	h.Push(t, "empty:1", imagetest.Container(t, "amd64"))
	foreign, err := mutate.AppendLayers(imagetest.Container(t, "amd64"), static.NewLayer([]byte("x"), types.MediaType("application/vnd.example.thing")))
	if err != nil {
		t.Fatal(err)
	}
	h.Push(t, "thing:1", foreign)
	s := open(t, Options{Architecture: "amd64"})
	for repo, want := range map[string]string{
		"/outside:1": rootfs.ErrOutside.Error(), "/empty:1": "0 layers", "/thing:1": "vnd.example.thing",
	} {
		if _, err := s.Pull(t.Context(), parsed(t, h.Host+repo), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", repo, err)
		}
		clean(t, s, 0)
	}
	h.Spoil = func(w http.ResponseWriter) http.ResponseWriter { return &flipped{ResponseWriter: w} }
	if _, err := s.Pull(t.Context(), parsed(t, h.Host+"/good:1"), nil); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("a changed byte: %v", err)
	}
	clean(t, s, 0)
	h.Spoil = nil
	pull(t, s, parsed(t, h.Host+"/good:1"))
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
	h := imagetest.NewHub(t)
	h.Push(t, "good:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "a="+strings.Repeat("x", 1<<20))))
	s := open(t, Options{Architecture: "amd64"})
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{}, 10)
	h.Spoil = func(w http.ResponseWriter) http.ResponseWriter { return &stuck{w, begun, ctx.Done()} }
	go func() { <-begun; cancel() }()
	if _, err := s.Pull(ctx, parsed(t, h.Host+"/good:1"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
}

// What is wrong with one layer ends the others at once.
func TestOneBadLayerStopsTheOthers(t *testing.T) {
	h := imagetest.NewHub(t)
	h.Push(t, "good:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "b=1"), imagetest.Tar(t, "a="+strings.Repeat("x", 1<<20))))
	s := open(t, Options{Architecture: "amd64"})
	s.stall = time.Hour
	over, begun := make(chan struct{}), make(chan struct{}, 10)
	var blobs atomic.Int64
	h.Spoil = func(w http.ResponseWriter) http.ResponseWriter {
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
	go func() { _, err := s.Pull(context.Background(), parsed(t, h.Host+"/good:1"), nil); ended <- err }()
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
	h := imagetest.NewHub(t)
	h.Push(t, "good:1", imagetest.Container(t, "amd64", imagetest.Tar(t, "b=1"), imagetest.Tar(t, "a="+strings.Repeat("x", 1<<20))))
	s := open(t, Options{Architecture: "amd64"})
	s.stall = 50 * time.Millisecond
	over := make(chan struct{})
	var blobs atomic.Int64
	h.Spoil = func(w http.ResponseWriter) http.ResponseWriter {
		if blobs.Add(1) == 1 {
			return w // the configuration
		}
		return &stuck{w, make(chan struct{}, 10), over}
	}
	_, err := s.Pull(t.Context(), parsed(t, h.Host+"/good:1"), nil)
	close(over)
	if !errors.Is(err, ErrStalled) {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
}

// A tar as a layer may have no end mark: its digest says that it is whole.
func TestLayerWithoutEndMark(t *testing.T) {
	h := imagetest.NewHub(t)
	whole := imagetest.Tar(t, "a=1")
	h.Push(t, "short:1", imagetest.Container(t, "amd64", whole[:len(whole)-1024]))
	s := open(t, Options{Architecture: "amd64"})
	if f := contents(t, pull(t, s, parsed(t, h.Host+"/short:1"))); f["a"].Mode&0o170000 != 0o100000 || tar.TypeReg != '0' {
		t.Errorf("%+v", f)
	}
}
