package pull

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

func TestFullDisk(t *testing.T) {
	ref := file(t, imagetest.Root(t, "one"))
	s := open(t, Options{})
	for _, room := range []int64{0, 1000, 4096, 100_000, 300_000} {
		s.write = func(f *os.File) output { return full{f, room} }
		if _, err := s.Pull(t.Context(), ref, nil); !errors.Is(err, errFull) {
			t.Errorf("room for %d: %v", room, err)
		}
		clean(t, s, 0)
	}
	s.write = func(f *os.File) output { return f }
	pull(t, s, ref)
	clean(t, s, 1)
}

// What else is on the disk has to live too.
func TestSpaceIsLeft(t *testing.T) {
	ref := file(t, imagetest.Tar(t, "a="+strings.Repeat("x", 3<<20)))
	s := open(t, Options{})
	s.step = 1 << 20
	asked := 0
	for _, enough := range []int{0, 1, 2} { // how often there is enough
		asked = 0
		s.free = func(dir string) (uint64, error) {
			if !strings.HasPrefix(dir, s.dir) {
				t.Errorf("asked for %s", dir)
			}
			asked++
			return uint64(reserve - 1 + boolean(asked <= enough)), nil
		}
		if _, err := s.Pull(t.Context(), ref, nil); !errors.Is(err, ErrSpace) || asked != enough+1 {
			t.Errorf("%d times enough, asked %d times: %v", enough, asked, err)
		}
		clean(t, s, 0)
	}
	s.free = freeSpace
	if free, err := freeSpace(s.dir); err != nil || free == 0 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestStalledServer(t *testing.T) {
	data := imagetest.Root(t, "one")
	web := imagetest.Serve(t, map[string][]byte{"/r.tar": data}).Gated()
	s := open(t, Options{})
	s.stall = 20 * time.Millisecond
	ref, _ := parsed(t, web.URL+"/r.tar").Checked(imagetest.Sum(data))
	if _, err := s.Pull(t.Context(), ref, nil); !errors.Is(err, ErrStalled) {
		t.Errorf("in the middle: %v", err)
	}
	clean(t, s, 0)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	s.opts.Index = silent.URL
	if _, err := s.Pull(t.Context(), parsed(t, "debian"), nil); !errors.Is(err, ErrStalled) {
		t.Errorf("before the answer: %v", err)
	}
	clean(t, s, 0)
}

func TestLimitsHold(t *testing.T) {
	s := open(t, Options{Limits: rootfs.Limits{Entries: 100, Bytes: 1000}})
	if _, err := s.Pull(t.Context(), file(t, imagetest.Root(t, "one")), nil); !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
}

// A redirect from https to http would undo what https is for.
func TestRedirectToPlain(t *testing.T) {
	s := open(t, Options{})
	var down redirects
	s.opts.Transport = &down
	if _, err := s.get(t.Context(), "https://example.invalid/r.tar"); !errors.Is(err, errDowngrade) || down != 1 {
		t.Errorf("%v after %d questions", err, down)
	}
}
