//go:build vm

package e2e

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/image/imagetest"
)

// diskUse is what inspect tells of a machine's own disk.
type diskUse struct {
	Size, Allocated int64
	Guest           struct{ Size, Used, Free int64 }
}

func (b *bed) diskUse(name string) diskUse {
	b.t.Helper()
	var m struct {
		DiskUse diskUse `json:"disk_use"`
	}
	if err := json.Unmarshal([]byte(b.ok("inspect", name, "--timeout", "1m", "--format", "json")), &m); err != nil {
		b.t.Fatal(err)
	}
	return m.DiskUse
}

// file makes a file here.
func file(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDisk: how full a machine's own disk is shows on both sides, and what was
// deleted in it is given back to the host.
func TestDisk(t *testing.T) {
	b, dir := newBed(t), t.TempDir()
	const big = 64 << 20
	noise := make([]byte, big)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	b.ok("image", "import", file(t, dir, "root.tar", imagetest.Root(t, "disk")), "--name", "disk")
	b.ok("create", "a", "--image", "disk", "--disk", "1G", "--memory", "512", "--cpus", "1")
	if r := b.run("disk", "compact", "a"); r.code != 4 || !strings.Contains(r.err, "arcbox start a") {
		t.Errorf("compact of what does not run: exit %d, %s", r.code, r.err)
	}
	b.ok("start", "a")

	b.ok("cp", file(t, dir, "noise", noise), "a:/file")
	b.ok("disk", "compact", "a") // what is written is on the disk then
	full := b.diskUse("a")
	if full.Size != 1<<30 || full.Allocated < big || full.Guest.Used < big || full.Guest.Free > 1<<30-big {
		t.Errorf("full: %+v", full)
	}
	b.ok("cp", file(t, dir, "empty", nil), "a:/file")
	out := b.ok("disk", "compact", "a", "--format", "json")
	var did struct{ Before, After int64 }
	if err := json.Unmarshal([]byte(out), &did); err != nil || did.Before-did.After < big*9/10 {
		t.Errorf("compacted: %s, %v", out, err)
	}
	if now := b.diskUse("a"); now.Allocated > did.After+8<<20 || now.Guest.Used > full.Guest.Used-big*9/10 {
		t.Errorf("empty: %+v, was %+v", now, full)
	}
	b.growsOnline("a")
	b.tellsUncleanEnds("a")
	b.ok("rm", "-f", "a")
}

// growsOnline: a disk grows while its VM runs, also where the engine is killed
// meanwhile, and what is in it stays.
func (b *bed) growsOnline(name string) {
	b.t.Helper()
	b.ok("cp", file(b.t, b.t.TempDir(), "kept", []byte("kept")), name+":/kept")
	r := b.run("set", name, "--disk", "2G", "--cpus", "2")
	if r.code != 0 || !strings.Contains(r.err, "disk 2048M: at once; cpus 2 (now 1): from the next start on") {
		b.t.Errorf("set: exit %d, %s", r.code, r.err)
	}
	grown := func(size int64) {
		b.t.Helper()
		if now := b.diskUse(name); now.Size != size || now.Guest.Size != size {
			b.t.Errorf("to %d: %+v", size, now)
		}
	}
	grown(2 << 30)
	killed := b.begin("set", name, "--disk", "3G")
	b.killEngine()
	b.ok("set", name, "--disk", "3G") // with the next engine, which the first one waits for
	killed.wait()
	grown(3 << 30)
	if got := b.ok("cp", name+":/kept", "-"); got != "kept" {
		b.t.Errorf("what was in it: %q", got)
	}
}

// tellsUncleanEnds: how a disk was found behind a VM that was killed is told by
// the start after it, and by that only.
func (b *bed) tellsUncleanEnds(name string) {
	b.t.Helper()
	const words = "did not end cleanly (killed at "
	b.ok("disk", "compact", name) // what is written is on the disk then
	b.ok("stop", "--kill", name)
	if r := b.run("start", name); r.code != 0 || !strings.Contains(r.err, words) || !strings.Contains(r.err, ", 0 errors") {
		b.t.Errorf("start after a kill: exit %d, %s", r.code, r.err)
	}
	if why := b.ok("journal", "why", name); !strings.Contains(why, words) {
		b.t.Errorf("why: %s", why)
	}
	if got := b.ok("cp", name+":/kept", "-"); got != "kept" {
		b.t.Errorf("what was in it: %q", got)
	}
	b.ok("stop", name)
	if r := b.run("start", name); r.code != 0 || strings.Contains(r.err, "cleanly") {
		b.t.Errorf("start after a stop: exit %d, %s", r.code, r.err)
	}
}
