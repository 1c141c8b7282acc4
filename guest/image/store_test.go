package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put commits an image with this content, which is none of an EROFS here.
func put(t testing.TB, s *Store, name, content string) Image {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	st, err := s.Stage(t.Context(), "abc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := os.WriteFile(st.File("image"), []byte(content), 0o400); err != nil {
		t.Fatal(err)
	}
	m := Manifest{Digest: fmt.Sprintf("sha256:%x", sum), Size: int64(len(content)), Origin: Origin{Kind: Tarball, Digest: "sha256:" + content}}
	i, err := s.Commit(t.Context(), st.File("image"), name, m)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// clean checks that nothing is in the store but so many images.
func clean(t testing.TB, s *Store, images int) {
	t.Helper()
	var found []string
	err := filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(s.dir, path); !slices.Contains([]string{".", "lock", "names.json", "stage"}, rel) {
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2*images {
		t.Errorf("in the store are %v, want %d images", found, images)
	}
}

func nobody(string) ([]string, error) { return nil, nil }

func TestFind(t *testing.T) {
	s := open(t)
	i := put(t, s, "docker.io/library/a:latest", "one")
	put(t, s, "debian:12", "one")
	other := put(t, s, "rootfs", "two")
	i.Names = []string{"debian:12", "docker.io/library/a:latest"}
	for _, reference := range []string{"debian:12", "Debian:12", "oci:a", "docker.io/a", i.Digest, i.Digest[7:], i.Digest[7:17], i.Digest[:14]} {
		found, err := s.Find(reference)
		if d := cmp.Diff(i, found); d != "" || err != nil {
			t.Errorf("%s: %v %s", reference, err, d)
		}
	}
	for _, reference := range []string{"debian", i.Digest[7:12], "sha256:" + strings.Repeat("0", 64), "", "/tmp/rootfs.tar", "../names"} {
		if _, err := s.Find(reference); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", reference, err)
		}
	}
	list, err := s.List()
	if d := cmp.Diff([]Image{i, other}, list, cmpopts.SortSlices(func(a, b Image) bool { return a.Size < b.Size || a.Names[0] < b.Names[0] })); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	clean(t, s, 2)
}

// A beginning that two digests share names neither.
func TestAmbiguous(t *testing.T) {
	s := open(t)
	for _, last := range []string{"a", "b"} {
		digest := "sha256:" + strings.Repeat("0", 63) + last
		if err := os.WriteFile(s.json(digest), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Find(strings.Repeat("0", 20)); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "2 images") {
		t.Errorf("%v", err)
	}
}

func TestCurrent(t *testing.T) {
	s := open(t)
	i := put(t, s, "rootfs", "one")
	for _, c := range []struct {
		name string
		o    Origin
		want bool
	}{
		{"rootfs", i.Origin, true}, {"other", i.Origin, false}, {"rootfs", Origin{Kind: Tarball}, false},
		{"rootfs", Origin{Kind: OCI, Digest: i.Origin.Digest}, false}, {"rootfs", Origin{Kind: Tarball, Digest: i.Origin.Digest, Architecture: "x"}, false},
	} {
		if _, ok := s.Current(c.name, c.o); ok != c.want {
			t.Errorf("%s from %+v: %v", c.name, c.o, ok)
		}
	}
}

func TestStageNeedsAKey(t *testing.T) {
	s := open(t)
	for _, key := range []string{"", "../x", "A", strings.Repeat("a", 65)} {
		if _, err := s.Stage(t.Context(), key, nil); err == nil {
			t.Errorf("%q was taken", key)
		}
	}
	if _, err := s.Commit(t.Context(), "x", "y", Manifest{Digest: "../x"}); err == nil {
		t.Error("a digest that is none was taken")
	}
}

func TestANameMoves(t *testing.T) {
	s := open(t)
	one, two := put(t, s, "rootfs", "one"), put(t, s, "rootfs", "two")
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
	s := open(t)
	i := put(t, s, "rootfs", "one")
	put(t, s, "second", "one")
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
	s := open(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	put(t, s, "rootfs", "one")
	release, err := s.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Hold(t.Context()) // several at once
	if err != nil {
		t.Fatal(err)
	}
	second()
	var held atomic.Bool
	held.Store(true)
	remove := func(ctx context.Context) error {
		_, err := s.Remove(ctx, "rootfs", func(string) ([]string, error) {
			// Asking while the other still records would see nothing and remove.
			if held.Load() {
				t.Error("the users were asked for while somebody held the store")
			}
			return nil, nil
		})
		return err
	}
	if err := remove(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("while somebody holds the store: %v", err)
	}
	removed := make(chan error)
	go func() { removed <- remove(context.Background()) }()
	if _, err := s.Find("rootfs"); err != nil {
		t.Error(err)
	}
	held.Store(false)
	release()
	if err := <-removed; err != nil {
		t.Error(err)
	}
	l, err := files.Try(s.lockFile(), unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, err := s.Hold(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDamageIsTold(t *testing.T) {
	s := open(t)
	good := put(t, s, "rootfs", "good")
	bad := put(t, s, "bad", strings.Repeat("bad", 100))
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
		put(t, s, "bad", strings.Repeat("bad", 100)) // over what is damaged
		if data, err := os.ReadFile(bad.Path); err != nil || len(data) != 300 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
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
	s := open(t)
	i := put(t, s, "rootfs", "one")
	for _, left := range []string{
		strings.Repeat("0", 64) + ".erofs", ".tmp-123", "stage/abc/image", "stage/abc.lock", "stage/def/layer-000", "stage/fff.lock",
	} {
		path := filepath.Join(s.dir, left)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(); err != nil || len(list) != 1 {
		t.Errorf("%d images, %v", len(list), err)
	}
	put(t, s, "rootfs", "two")
	clean(t, s, 2)
	// A manifest whose image is gone: made anew.
	if err := os.Remove(i.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(i.Digest); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	put(t, s, "rootfs", "one")
	clean(t, s, 2)
}
