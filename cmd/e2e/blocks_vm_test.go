//go:build vm

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBlocks: a guest reads and writes the disks that its machine was given, one
// that is read only stays as it is, and no two VMs write to one.
func TestBlocks(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	disk := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, append([]byte(text), make([]byte, 1<<20-len(text))...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine, theirs := disk("mine.img", "hello"), disk("theirs.img", "kept")
	link := filepath.Join(dir, "link.img")
	if err := os.Symlink(mine, link); err != nil {
		t.Fatal(err)
	}
	b.ok("create", "a", "--memory", "512", "--cpus", "1", "--block", mine, "--block", theirs+":ro")
	b.ok("start", "a")
	out := b.ok("exec", "a", "--", "sh", "-c", `for d in /sys/block/vd*; do echo "$(cat $d/serial) $(cat $d/ro) $(head -c 5 /dev/${d##*/})"; done
		rw=$(grep -lx block1 /sys/block/vd*/serial); rw=/dev/$(basename ${rw%/serial})
		ro=$(grep -lx block2 /sys/block/vd*/serial); ro=/dev/$(basename ${ro%/serial})
		printf HELLO | dd of=$rw conv=fsync 2>&1 && ! printf KEPT | dd of=$ro conv=fsync 2>&1`)
	for _, want := range []string{"block1 0 hello", "block2 1 kept"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	for path, want := range map[string]string{mine: "HELLO", theirs: "kept"} {
		if got, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(got, []byte(want)) || len(got) != 1<<20 {
			t.Errorf("%s: %.8q, %v", path, got, err)
		}
	}

	b.ok("create", "b", "--memory", "512", "--cpus", "1", "--block", mine+":ro")
	if r := b.run("start", "b"); r.code != 4 || !strings.Contains(r.err, `in use by machine "a"`) {
		t.Errorf("two of one disk: exit %d, %s", r.code, r.err)
	}
	b.ok("create", "c", "--memory", "512", "--cpus", "1", "--block", link)
	if r := b.run("start", "c"); r.code != 1 || !strings.Contains(r.err, "link.img\" is in use: another VM or program") {
		t.Errorf("two of one disk by two names: exit %d, %s", r.code, r.err)
	}
	b.ok("rm", "-f", "a", "b", "c")
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("rm took a disk that was only lent: %v", err)
	}
}
