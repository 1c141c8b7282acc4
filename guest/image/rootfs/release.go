package rootfs

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/image/erofs"
)

const maxRelease = 64 << 10

// releasePaths are where a root file system says what it is; the first is often
// a link to the second.
var releasePaths = [][]string{{"etc", "os-release"}, {"usr", "lib", "os-release"}}

// data gives a file its data, and keeps that where it may be the os-release.
func (t *tree) data(w *erofs.Writer, n *erofs.Inode, h *tar.Header, data io.Reader) error {
	path, err := parts(h.Name)
	known := func(p []string) bool { return slices.Equal(p, path) }
	if err != nil || h.Size > maxRelease || !slices.ContainsFunc(releasePaths, known) {
		return w.Data(n, h.Size, data)
	}
	var kept bytes.Buffer
	err = w.Data(n, h.Size, io.TeeReader(data, &kept))
	t.releases[n] = kept.Bytes()
	return err
}

// osRelease reads the assignments of the os-release. It is a shell's syntax, of
// which no distribution uses more than quotes.
func (t *tree) osRelease() map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(string(t.releaseFile())) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			found[key] = strings.Trim(value, `"'`)
		}
	}
	return found
}

func (t *tree) releaseFile() []byte {
	for _, path := range releasePaths {
		p, err := t.parent(path, false)
		if err != nil || p.dir == nil {
			continue
		}
		if data := t.releases[p.dir.Entries[p.name]]; data != nil {
			return data
		}
	}
	return nil
}
