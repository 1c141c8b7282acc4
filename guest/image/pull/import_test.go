package pull

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
)

func TestImport(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	s := open(t, Options{Architecture: "amd64", Now: func() time.Time { return now }})
	ref := file(t, imagetest.Root(t, "one"))
	i := pull(t, s, ref)
	want := image.Image{Names: []string{"rootfs"}, Path: filepath.Join(s.dir, i.Digest[7:]+".erofs"), Manifest: image.Manifest{
		Format: 1, Digest: i.Digest, Size: i.Size, Files: 5, Created: now,
		Origin: image.Origin{Kind: image.Tarball, Reference: ref.Source, Distribution: "test", Version: "1.2", Architecture: "amd64"},
	}}
	if d := cmp.Diff(want, i); d != "" {
		t.Error(d)
	}
	if f := contents(t, i)["content"]; f.Data != erofstest.Sum("one") {
		t.Errorf("%+v", f)
	}
	info, err := os.Stat(i.Path)
	if err != nil || info.Mode() != 0o400 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	clean(t, s, 1)
	for _, reference := range []string{"rootfs", i.Digest, i.Digest[7:], i.Digest[7:17], i.Digest[:14]} {
		found, err := s.store.Find(reference)
		if d := cmp.Diff(i, found); d != "" || err != nil {
			t.Errorf("%s: %v %s", reference, err, d)
		}
	}
	for _, reference := range []string{"other", i.Digest[7:12], "sha256:" + strings.Repeat("0", 64), "", ref.Source} {
		if _, err := s.store.Find(reference); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s: %v", reference, err)
		}
	}
	// The same bytes are the same image, also from elsewhere and later.
	now = now.Add(time.Hour)
	again, err := file(t, imagetest.Root(t, "one")).Named("second")
	if err != nil {
		t.Fatal(err)
	}
	if j := pull(t, s, again); j.Digest != i.Digest || !j.Created.Equal(i.Created) || len(j.Names) != 2 {
		t.Errorf("%+v", j)
	}
	clean(t, s, 1)
}

// A stream is read once, by one pull.
func TestImportStream(t *testing.T) {
	data := imagetest.Root(t, "streamed")
	s := open(t, Options{Architecture: "amd64", Stream: bytes.NewReader(imagetest.XZ(t, data))})
	ref, err := image.FromStream("base:1")
	if err != nil {
		t.Fatal(err)
	}
	i := pull(t, s, ref)
	if f := contents(t, i)["content"]; f.Data != erofstest.Sum("streamed") || i.Origin.Reference != "-" || i.Names[0] != "base:1" {
		t.Errorf("%+v: %+v", i, f)
	}
	if j := pull(t, s, file(t, data)); j.Digest != i.Digest {
		t.Errorf("from a file it is %s, from a stream %s", j.Digest, i.Digest)
	}
	if _, err := s.Pull(t.Context(), ref, nil); !errors.Is(err, ErrNoStream) {
		t.Errorf("a second time: %v", err)
	}
	clean(t, s, 1)
	if _, err := image.FromStream(""); !errors.Is(err, image.ErrReference) {
		t.Errorf("without a name: %v", err)
	}
}
