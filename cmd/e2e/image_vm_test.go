//go:build vm

package e2e

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFirstImage is a machine of the smallest image there can be: one program, and
// no init. Its root is the image under its own disk, which is made once, keeps what
// is written over a stop and another name, and in a clone, and goes with the machine,
// which its image outlives.
func TestFirstImage(t *testing.T) {
	b := newBed(t)
	b.ok("image", "import", b.tinyRoot(), "--name", "tiny")
	if r := b.run("create", "a", "--image", "oci:127.0.0.1:1/nothing"); r.code == 0 {
		t.Error("a machine was made of an image that can't be had")
	}
	b.ok("up", "a", "--image", "tiny", "--disk", "256M", "--memory", "512", "--cpus", "1", "--timeout", "3m")
	if out := b.ok("exec", "a", "--", "/bin/probe", "--version"); out == "" {
		t.Error("the image's program says nothing")
	}
	if got := b.ok("cp", "a:/etc/hostname", "-"); got != "a" {
		t.Errorf("its host name is %q", got)
	}
	kept := filepath.Join(b.home, "kept")
	if err := os.WriteFile(kept, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ok("cp", kept, "a:/root/kept")
	if r := b.run("image", "rm", "tiny"); r.code != 4 || !strings.Contains(r.err, "is used by a") {
		t.Errorf("removing its image: exit %d, %s", r.code, r.err)
	}

	if r := b.run("rename", "a", "b"); r.code != 4 || !strings.Contains(r.err, "arcbox stop a") {
		t.Errorf("renamed while it runs: exit %d, %s", r.code, r.err)
	}
	b.ok("stop", "a")
	b.ok("rename", "a", "b")
	b.ok("start", "b", "--wait", "booted", "--timeout", "3m")
	if got := b.ok("cp", "b:/root/kept", "-"); got != "kept" {
		t.Errorf("after a stop, the file has %q", got)
	}
	if got := b.ok("cp", "b:/etc/hostname", "-"); got != "b" {
		t.Errorf("after its rename, its host name is %q", got)
	}
	machineID := b.ok("cp", "b:/etc/machine-id", "-")
	formatted := slices.DeleteFunc(kinds(b.journal("a")), func(k string) bool { return k != "disk-formatted" })
	if len(formatted) != 1 {
		t.Errorf("the disk was formatted %d times", len(formatted))
	}

	var m struct{ Dir, Init, Image string }
	b.into(&m, "inspect", "b")
	if m.Init != "" || !strings.HasPrefix(m.Image, "sha256:") {
		t.Errorf("inspect: %+v", m)
	}
	b.ok("stop", "b")
	b.ok("clone", "b", "c")
	b.ok("start", "c", "--wait", "booted", "--timeout", "3m")
	if got := b.ok("cp", "c:/root/kept", "-") + b.ok("cp", "c:/etc/hostname", "-"); got != "keptc" {
		t.Errorf("a clone's file and host name are %q", got)
	}
	if id := b.ok("cp", "c:/etc/machine-id", "-"); id == machineID || len(id) != len(machineID) {
		t.Errorf("a clone's machine-id is %q, the other's %q", id, machineID)
	}
	b.ok("rm", "-f", "b", "c")
	b.gone("the disk of a removed machine", 10*time.Second, filepath.Join(m.Dir, "data.img")) // it goes behind the answer
	b.ok("image", "rm", "tiny")
}

// tinyRoot is an archive with one program that needs nothing else.
func (b *bed) tinyRoot() string {
	b.t.Helper()
	program, err := os.ReadFile(filepath.Join(os.Getenv("ARCBOX_BIN"), "arcbox-agent"))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.rootOf("tiny", program)
}

// rootOf is an archive with one program, and links to it, that needs nothing else.
func (b *bed) rootOf(name string, program []byte, links ...string) string {
	b.t.Helper()
	path := filepath.Join(b.home, name+".tar")
	f, err := os.Create(path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	entries := []*tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "sbin", Typeflag: tar.TypeSymlink, Linkname: "bin"}, // where the kernel looks for modprobe
		{Name: "root/", Typeflag: tar.TypeDir, Mode: 0o700},
		{Name: "bin/probe", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
	}
	for _, l := range links {
		entries = append(entries, &tar.Header{Name: "bin/" + l, Typeflag: tar.TypeSymlink, Linkname: "probe"})
	}
	for _, h := range entries {
		if err := w.WriteHeader(h); err != nil {
			b.t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(program); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	return path
}
