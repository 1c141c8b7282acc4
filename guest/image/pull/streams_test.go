package pull

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// redirects answers every question with a way to http, and counts them.
type redirects int

func (r *redirects) RoundTrip(req *http.Request) (*http.Response, error) {
	*r++
	h := http.Header{"Location": {"http://example.invalid/r.tar"}}
	return &http.Response{StatusCode: http.StatusFound, Header: h, Body: http.NoBody, Request: req}, nil
}

var usual = []string{
	"Debian bookworm bookworm debian/bookworm/default,debian/bookworm,debian/12 amd64 default",
	"Debian trixie trixie debian/trixie/default,debian/trixie,debian/13 amd64 default",
	"Debian trixie trixie debian/trixie/cloud,debian/13/cloud amd64 cloud",
	"Debian forky forky debian/forky amd64 cloud",
	"Debian trixie trixie debian/trixie,debian/14 arm64 default",
	"Ubuntu noble noble ubuntu/noble,ubuntu/24.04 amd64 default",
	"Alpine 3.9 3.9 alpine/3.9 amd64 default",
	"Alpine 3.22 3.22 alpine/3.22/default,alpine/3.22 amd64 default",
	"Alpine edge edge alpine/edge amd64 default",
	"Archlinux current current archlinux,archlinux/current amd64 default",
	"Archlinux old old archlinux/old amd64 default",
	"Gentoo openrc openrc gentoo/openrc amd64 default",
	"Gentoo systemd systemd gentoo/systemd amd64 default",
}

func TestMachineImages(t *testing.T) {
	web := imagetest.Streams(t, imagetest.XZ(t, imagetest.Root(t, "machine")), usual...)
	s := open(t, Options{Index: web.URL + "/base", Architecture: "amd64"})
	for name, version := range map[string]string{
		"debian:12": "12", "debian:bookworm": "12", "debian": "13", "ubuntu:24.04": "24.04", "alpine": "3.22", "alpine:edge": "edge",
		"alpine:3.9": "3.9", "archlinux": "current", "gentoo:openrc": "openrc",
	} {
		i := pull(t, s, parsed(t, name))
		distribution, _, _ := strings.Cut(name, ":")
		if o := i.Origin; o.Distribution != distribution || o.Version != version || o.Kind != image.Machine || o.Digest == "" {
			t.Errorf("%s is %+v", name, o)
		}
		if f := contents(t, i)["content"]; f.Data != erofstest.Sum("machine") {
			t.Errorf("%s holds %+v", name, f)
		}
		if found, err := s.store.Find(name); err != nil || found.Digest != i.Digest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := web.Downloads("/base/images/Gentoo.tar.xz"); n != 1 {
		t.Errorf("%d downloads", n)
	}
	pull(t, s, parsed(t, "gentoo:openrc"))
	if n := web.Downloads("/base/images/Gentoo.tar.xz"); n != 1 {
		t.Errorf("%d downloads of what is there", n)
	}
}

func TestUnknownMachineImages(t *testing.T) {
	web := imagetest.Streams(t, imagetest.XZ(t, imagetest.Root(t, "machine")), usual...)
	s := open(t, Options{Index: web.URL + "/base", Architecture: "amd64"})
	for name, want := range map[string][]string{
		"debain:12":    {"it has debian, "},
		"debian:forky": {"of debian it has debian:12 (bookworm), debian:13 (trixie)"}, // with extras only
		"debian:14":    {"debian:12 (bookworm), debian:13 (trixie)"},
		"alpine:4":     {"alpine:3.22", "alpine:edge"},
		"gentoo":       {"gentoo:openrc, gentoo:systemd"},
	} {
		_, err := s.Pull(t.Context(), parsed(t, name), nil)
		for _, w := range want {
			if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %s", name, err, w)
			}
		}
	}
	s = open(t, Options{Index: web.URL + "/base", Architecture: "riscv64"})
	if _, err := s.Pull(t.Context(), parsed(t, "debian"), nil); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "none for this architecture") {
		t.Errorf("%v", err)
	}
	clean(t, s, 0)
}

func TestBadIndex(t *testing.T) {
	data := imagetest.XZ(t, imagetest.Root(t, "machine"))
	replace := func(path, old, with string) *imagetest.Site {
		web := imagetest.Streams(t, data, usual[0])
		before := string(web.Files[path])
		if web.Files[path] = []byte(strings.ReplaceAll(before, old, with)); before == string(web.Files[path]) {
			t.Fatalf("%q is not in %s", old, path)
		}
		return web
	}
	const images, first = "/base/streams/v1/images.json", "/base/streams/v1/index.json"
	for name, c := range map[string]struct {
		web  *imagetest.Site
		want error
	}{
		"not JSON":           {replace(images, `"products":`, `products:`), image.ErrDamaged},
		"no images":          {replace(first, "image-downloads", "other"), image.ErrDamaged},
		"a path elsewhere":   {replace(first, "streams/v1/images.json", "../../x"), image.ErrDamaged},
		"another host":       {replace(images, "images/Debian", "https://example.invalid/Debian"), image.ErrDamaged},
		"no digest":          {replace(images, imagetest.Sum(data), "abc"), image.ErrDamaged},
		"another digest":     {replace(images, imagetest.Sum(data), strings.Repeat("1", 64)), ErrDigest},
		"an archive cut off": {cutArchive(t, data), rootfs.ErrTruncated},
	} {
		s := open(t, Options{Index: c.web.URL + "/base", Architecture: "amd64"})
		if _, err := s.Pull(t.Context(), parsed(t, "debian:12"), nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		clean(t, s, 0)
	}
	only := replace(images, "root.tar.xz", "other.tar.xz")
	s := open(t, Options{Index: only.URL + "/base", Architecture: "amd64"})
	if _, err := s.Pull(t.Context(), parsed(t, "debian:12"), nil); err == nil || !strings.Contains(err.Error(), "none of its 3 versions") {
		t.Errorf("%v", err)
	}
	s = open(t, Options{Index: "ftp://x"})
	if _, err := s.Pull(t.Context(), parsed(t, "debian:12"), nil); err == nil || !strings.Contains(err.Error(), "ftp://x") {
		t.Errorf("%v", err)
	}
}

func cutArchive(t testing.TB, data []byte) *imagetest.Site {
	return imagetest.Streams(t, data[:len(data)/2], usual[0])
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", ""}: 3, {"", "ab"}: 2, {"debian", "debian"}: 0, {"debain", "debian"}: 2, {"kitten", "sitting"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("%v: %d, want %d", pair, got, want)
		}
	}
}
