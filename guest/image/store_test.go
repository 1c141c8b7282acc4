package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
)

func TestImport(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	s := open(t, Options{Architecture: "amd64", Now: func() time.Time { return now }})
	ref := file(t, root(t, "one"))
	i := pull(t, s, ref)
	want := Image{Names: []string{"rootfs"}, Path: s.erofs(i.Digest), Manifest: Manifest{
		Format: 1, Digest: i.Digest, Size: i.Size, Files: 5, Created: now,
		Origin: Origin{Kind: Tarball, Reference: ref.Source, Distribution: "test", Version: "1.2", Architecture: "amd64"},
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
		found, err := s.Find(reference)
		if d := cmp.Diff(i, found); d != "" || err != nil {
			t.Errorf("%s: %v %s", reference, err, d)
		}
	}
	for _, reference := range []string{"other", i.Digest[7:12], "sha256:" + strings.Repeat("0", 64), "", ref.Source} {
		if _, err := s.Find(reference); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", reference, err)
		}
	}
	// The same bytes are the same image, also from elsewhere and later.
	now = now.Add(time.Hour)
	again, err := file(t, root(t, "one")).Named("second")
	if err != nil {
		t.Fatal(err)
	}
	if j := pull(t, s, again); j.Digest != i.Digest || !j.Created.Equal(i.Created) || len(j.Names) != 2 {
		t.Errorf("%+v", j)
	}
	clean(t, s, 1)
}

func TestANameMoves(t *testing.T) {
	s := open(t, Options{})
	one, two := pull(t, s, file(t, root(t, "one"))), pull(t, s, file(t, root(t, "two")))
	if i, err := s.Find("rootfs"); err != nil || i.Digest != two.Digest {
		t.Errorf("%+v, %v", i, err)
	}
	if i, err := s.Find(one.Digest); err != nil || len(i.Names) != 0 {
		t.Errorf("%+v, %v", i, err)
	}
	done, err := s.Prune(t.Context(), false, nobody)
	if d := cmp.Diff(Removed{Digests: []string{one.Digest}, Bytes: one.Size}, done); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	clean(t, s, 1)
}

func TestRemove(t *testing.T) {
	s := open(t, Options{})
	ref := file(t, root(t, "one"))
	i := pull(t, s, ref)
	second, _ := ref.Named("second")
	pull(t, s, second)
	users := func(digest string) ([]string, error) {
		if digest != i.Digest {
			t.Errorf("asked for %s", digest)
		}
		return []string{"web", "db"}, nil
	}
	// A name that is not the last is only a name.
	if done, err := s.Remove(t.Context(), "second", users); err != nil || len(done.Digests) != 0 || done.Names[0] != "second" {
		t.Errorf("%+v, %v", done, err)
	}
	var inUse *InUseError
	for _, reference := range []string{"rootfs", i.Digest} {
		if _, err := s.Remove(t.Context(), reference, users); !errors.As(err, &inUse) || !strings.Contains(err.Error(), "web, db") {
			t.Errorf("%s: %v", reference, err)
		}
	}
	broken := errors.New("the engine says nothing")
	if _, err := s.Remove(t.Context(), "rootfs", func(string) ([]string, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if done, err := s.Prune(t.Context(), true, users); err != nil || len(done.Digests) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	clean(t, s, 1)
	done, err := s.Remove(t.Context(), i.Digest[7:19], nobody)
	if d := cmp.Diff(Removed{Names: []string{"rootfs"}, Digests: []string{i.Digest}, Bytes: i.Size}, done); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	clean(t, s, 0)
	if _, err := s.Remove(t.Context(), "rootfs", nobody); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// Who is about to use an image keeps it: see the package's comment.
func TestHoldKeepsImages(t *testing.T) {
	s := open(t, Options{})
	pull(t, s, file(t, root(t, "one")))
	release, err := s.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Hold(t.Context()) // several at once
	if err != nil {
		t.Fatal(err)
	}
	second()
	asked := make(chan struct{}, 1)
	removed := make(chan error)
	go func() {
		_, err := s.Remove(context.Background(), "rootfs", func(string) ([]string, error) {
			asked <- struct{}{}
			return nil, nil
		})
		removed <- err
	}()
	// Asking while the other still records would see nothing and remove.
	select {
	case <-asked:
		t.Error("the users were asked for while somebody held the store")
	case <-time.After(4 * lockPause):
	}
	if _, err := s.Find("rootfs"); err != nil {
		t.Error(err)
	}
	release()
	if err := <-removed; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l, err := tryLock(s.lockFile(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	cancel()
	if _, err := s.Hold(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDamageIsTold(t *testing.T) {
	s := open(t, Options{})
	good := pull(t, s, file(t, root(t, "good")))
	ref, _ := file(t, root(t, "bad")).Named("bad")
	bad := pull(t, s, ref)
	for name, harm := range map[string]func() error{
		"a manifest": func() error { return os.WriteFile(s.json(bad.Digest), []byte("{"), 0o600) },
		"a manifest of another image": func() error {
			data, err := os.ReadFile(s.json(good.Digest))
			return errors.Join(err, os.WriteFile(s.json(bad.Digest), data, 0o600))
		},
		"a cut image": func() error { return errors.Join(os.Chmod(bad.Path, 0o600), os.Truncate(bad.Path, 100)) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		list, err := s.List()
		if !errors.Is(err, ErrDamaged) || len(list) != 1 || list[0].Digest != good.Digest {
			t.Errorf("%s: %d images, %v", name, len(list), err)
		}
		if _, err := s.Find("bad"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if i := pull(t, s, ref); i.Digest != bad.Digest {
			t.Errorf("%s: pulled as %s", name, i.Digest)
		}
		contents(t, bad)
	}
	if err := os.WriteFile(s.namesFile(), []byte(`{"x": "../../etc"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// A crash between two steps leaves what nobody sees and the next pull sweeps.
func TestLeftoversAreSwept(t *testing.T) {
	s := open(t, Options{})
	i := pull(t, s, file(t, root(t, "one")))
	for _, left := range []string{
		strings.Repeat("0", 64) + ".erofs", ".tmp-123", "stage/abc/image", "stage/abc.lock", "stage/def/layer-000",
	} {
		path := filepath.Join(s.dir, left)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(); err != nil || len(list) != 1 {
		t.Errorf("%d images, %v", len(list), err)
	}
	pull(t, s, file(t, root(t, "two")))
	clean(t, s, 2)
	// A manifest whose image is gone: made anew.
	if err := os.Remove(i.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(i.Digest); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	pull(t, s, file(t, root(t, "one")))
	clean(t, s, 2)
}
