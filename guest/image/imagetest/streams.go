package imagetest

import (
	"fmt"
	"strings"
	"testing"
)

// Streams is a simplestreams server with an index at /base of the images that
// lines name, each of them "os release title aliases arch variant". All of them
// are data, a tar that was compressed with xz.
func Streams(t testing.TB, data []byte, lines ...string) *Site {
	t.Helper()
	var list []string
	for _, line := range lines {
		f := strings.Fields(line)
		item := func(kind, path, sum string) string {
			return fmt.Sprintf(`%q: {"ftype": %q, "path": %q, "sha256": %q, "size": %d}`, kind, kind, path, sum, len(data))
		}
		old := item("root.tar.xz", "images/old.tar.xz", strings.Repeat("0", 64))
		items := item("root.squashfs", "images/r.squashfs", Sum(nil)) + "," + item("root.tar.xz", "images/"+f[0]+".tar.xz", Sum(data))
		list = append(list, fmt.Sprintf(`%q: {"aliases": %q, "arch": %q, "os": %q, "release": %q, "release_title": %q, "variant": %q,
			"versions": {"20260101_05:24": {"items": {%s}}, "20261101_05:24": {"items": {%s}}, "20261102_05:24": {"items": {}}}}`,
			strings.Join(f, ":"), f[3], f[4], f[0], f[1], f[2], f[5], old, items))
	}
	files := map[string][]byte{
		"/base/streams/v1/index.json": []byte(`{"format": "index:1.0", "index": {
			"images": {"datatype": "image-downloads", "path": "streams/v1/images.json"}, "other": {"datatype": "x", "path": "y"}}}`),
		"/base/streams/v1/images.json": []byte(`{"format": "products:1.0", "products": {` + strings.Join(list, ",") + `}}`),
	}
	for _, line := range lines {
		files["/base/images/"+strings.Fields(line)[0]+".tar.xz"] = data
	}
	return Serve(t, files)
}
