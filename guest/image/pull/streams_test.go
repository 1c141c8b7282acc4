package pull

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs/erofstest"
	"github.com/arcboxlabs/arcbox-engine/guest/image/rootfs"
)

// redirects answers every question with a way to http, and counts them.
type redirects int

func (r *redirects) RoundTrip(req *http.Request) (*http.Response, error) {
	*r++
	h := http.Header{"Location": {"http://example.invalid/r.tar"}}
	return &http.Response{StatusCode: http.StatusFound, Header: h, Body: http.NoBody, Request: req}, nil
}

// index is a simplestreams server with the images that lines name, each of them
// "os release title aliases arch variant".
func index(t testing.TB, data []byte, lines ...string) *site {
	t.Helper()
	var list []string
	for _, line := range lines {
		f := strings.Fields(line)
		item := func(kind, path, sum string) string {
			return fmt.Sprintf(`%q: {"ftype": %q, "path": %q, "sha256": %q, "size": %d}`, kind, kind, path, sum, len(data))
		}
		old := item("root.tar.xz", "images/old.tar.xz", strings.Repeat("0", 64))
		items := item("root.squashfs", "images/r.squashfs", sumOf(nil)) + "," + item("root.tar.xz", "images/"+f[0]+".tar.xz", sumOf(data))
		list = append(list, fmt.Sprintf(`%q: {"aliases": %q, "arch": %q, "os": %q, "release": %q, "release_title": %q, "variant": %q,
			"versions": {"20260101_05:24": {"items": {%s}}, "20261101_05:24": {"items": {%s}}, "20261102_05:24": {"items": {}}}}`,
			strings.Join(f, ":"), f[3], f[4], f[0], f[1], f[2], f[5], old, items))
	}
	web := serve(t, map[string][]byte{
		"/base/streams/v1/index.json": []byte(`{"format": "index:1.0", "index": {
			"images": {"datatype": "image-downloads", "path": "streams/v1/images.json"}, "other": {"datatype": "x", "path": "y"}}}`),
		"/base/streams/v1/images.json": []byte(`{"format": "products:1.0", "products": {` + strings.Join(list, ",") + `}}`),
	})
	for _, line := range lines {
		web.files["/base/images/"+strings.Fields(line)[0]+".tar.xz"] = data
	}
	return web
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
	web := index(t, squeezed(t, root(t, "machine")), usual...)
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
	if n := web.downloads("/base/images/Gentoo.tar.xz"); n != 1 {
		t.Errorf("%d downloads", n)
	}
	pull(t, s, parsed(t, "gentoo:openrc"))
	if n := web.downloads("/base/images/Gentoo.tar.xz"); n != 1 {
		t.Errorf("%d downloads of what is there", n)
	}
}

func TestUnknownMachineImages(t *testing.T) {
	web := index(t, squeezed(t, root(t, "machine")), usual...)
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
	data := squeezed(t, root(t, "machine"))
	replace := func(path, old, with string) *site {
		web := index(t, data, usual[0])
		before := string(web.files[path])
		if web.files[path] = []byte(strings.ReplaceAll(before, old, with)); before == string(web.files[path]) {
			t.Fatalf("%q is not in %s", old, path)
		}
		return web
	}
	const images, first = "/base/streams/v1/images.json", "/base/streams/v1/index.json"
	for name, c := range map[string]struct {
		web  *site
		want error
	}{
		"not JSON":           {replace(images, `"products":`, `products:`), image.ErrDamaged},
		"no images":          {replace(first, "image-downloads", "other"), image.ErrDamaged},
		"a path elsewhere":   {replace(first, "streams/v1/images.json", "../../x"), image.ErrDamaged},
		"another host":       {replace(images, "images/Debian", "https://example.invalid/Debian"), image.ErrDamaged},
		"no digest":          {replace(images, sumOf(data), "abc"), image.ErrDamaged},
		"another digest":     {replace(images, sumOf(data), strings.Repeat("1", 64)), ErrDigest},
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

func cutArchive(t testing.TB, data []byte) *site {
	return index(t, data[:len(data)/2], usual[0])
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
