//go:build e2e

package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tools of EROFS itself take our images: all of them are sound, and what
// they unpack is what was packed.
func TestToolsOfErofs(t *testing.T) {
	var entries []entry
	for i := range 3000 {
		f := file(fmt.Sprintf("d/%03d/%s%d", i%7, strings.Repeat("n", i%240), i), strings.Repeat("x", i*i%20_000))
		f.PAXRecords = map[string]string{"SCHILY.xattr.user.n": strings.Repeat("v", i*5%8000)}
		entries = append(entries, f)
		if i%50 == 0 {
			entries = append(entries, hardlink(fmt.Sprintf("links/%d", i), f.Name), symlink(fmt.Sprintf("sym/%d", i), strings.Repeat("s", i+1)))
		}
	}
	entries = append(entries, entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}})
	image := filepath.Join(t.TempDir(), "image")
	made, err := fromTar(pack(t, entries...))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, made, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"fsck.erofs", image}, {"fsck.erofs", "--extract=" + image + ".d", "--no-preserve", image}, {"dump.erofs", "-s", "-S", image}} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("<E>")) {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	for _, e := range entries {
		if e.Typeflag != tar.TypeReg {
			continue
		}
		if got, err := os.ReadFile(filepath.Join(image+".d", e.Name)); err != nil || string(got) != e.data {
			t.Fatalf("%s: %d of %d bytes, %v", e.Name, len(got), len(e.data), err)
		}
	}
}
