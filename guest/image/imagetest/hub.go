package imagetest

import (
	"bytes"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Hub is a container registry.
type Hub struct {
	Host  string
	Blobs atomic.Int64 // layers and configurations that were asked for
	// Spoil, where set, changes a blob on its way.
	Spoil func(http.ResponseWriter) http.ResponseWriter
	User  string // "user:password", where one is needed
}

// NewHub serves a registry without any images until the test is over. Docker's
// configuration is nobody's own from then on.
func NewHub(t testing.TB) *Hub {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	h := &Hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.User != "" && r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(h.User)) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors": [{"code": "UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			h.Blobs.Add(1)
			if h.Spoil != nil {
				w = h.Spoil(w)
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	h.Host = strings.TrimPrefix(web.URL, "http://")
	return h
}

// Ref is the reference to an image of the registry.
func (h *Hub) Ref(t testing.TB, repo string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(h.Host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Push puts an image into the registry, and tells its digest.
func (h *Hub) Push(t testing.TB, repo string, img v1.Image) string {
	t.Helper()
	if err := remote.Write(h.Ref(t, repo), img); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// Container is an image of these layers, each of them a tar.
func Container(t testing.TB, arch string, layers ...[]byte) v1.Image {
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
