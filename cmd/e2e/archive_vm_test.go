//go:build vm

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExportImport takes a machine elsewhere: as a file with its image, to where
// neither is known any more. What was written in it is there, who it is is new.
func TestExportImport(t *testing.T) {
	b := newBed(t)
	b.ok("image", "import", b.tinyRoot(), "--name", "tiny")
	b.ok("up", "a", "--image", "tiny", "--disk", "1G", "--memory", "512", "--cpus", "1", "--timeout", "3m")
	kept, file := filepath.Join(b.home, "kept"), filepath.Join(b.home, "a.arcbox")
	text := strings.Repeat("kept in the machine\n", 1000)
	if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ok("cp", kept, "a:/root/kept")
	was := b.ok("cp", "a:/etc/machine-id", "-")
	if r := b.run("export", "a", file); r.code != 4 || !strings.Contains(r.err, "arcbox stop a") {
		t.Errorf("exported while it runs: exit %d, %s", r.code, r.err)
	}
	b.ok("stop", "a")
	b.ok("export", "a", file, "--with-image")
	info, err := os.Stat(file)
	if err != nil || info.Size() > 128<<20 || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if r := b.run("import", file); r.code != 4 || !strings.Contains(r.err, "--name NEW") {
		t.Errorf("imported beside itself: exit %d, %s", r.code, r.err)
	}
	b.ok("rm", "-f", "a")
	b.ok("image", "rm", "tiny")

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(b.home, "cut.arcbox")
	if err := os.WriteFile(cut, whole[:len(whole)*9/10], 0o600); err != nil {
		t.Fatal(err)
	}
	if r := b.run("import", cut); r.code != 1 || !strings.Contains(r.err, "is damaged") {
		t.Errorf("one that was cut off: exit %d, %s", r.code, r.err)
	}
	if left := b.ok("list", "-q") + b.ok("image", "ls", "-q"); left != "" {
		t.Errorf("it left %s", left)
	}

	b.ok("import", file, "--name", "b")
	b.ok("start", "b", "--wait", "booted", "--timeout", "3m")
	if got := b.ok("cp", "b:/root/kept", "-"); got != strings.TrimSpace(text) && got != text {
		t.Errorf("its file has %d bytes: %.40q", len(got), got)
	}
	if got := b.ok("cp", "b:/etc/hostname", "-"); got != "b" {
		t.Errorf("its host name is %q", got)
	}
	if is := b.ok("cp", "b:/etc/machine-id", "-"); is == was || is == "" {
		t.Errorf("its machine-id is %q, that of the other %q", is, was)
	}
	stages, err := filepath.Glob(filepath.Join(b.home, "data", "stages", "*"))
	if err != nil || len(stages) != 0 {
		t.Errorf("stages are left: %v, %v", stages, err)
	}
	b.ok("rm", "-f", "b")
}
