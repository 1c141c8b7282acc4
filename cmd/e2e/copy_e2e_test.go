//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// copies: a tree goes into the guest and comes back as it was; a hostile
// guest's links stay there; Ctrl-C leaves no half of a file.
func (b *bed) copies(t *testing.T) {
	here := t.TempDir()
	from := filepath.Join(here, "from")
	growTree(t, from)
	b.ok("cp", from, "a:/tmp")
	out := b.ok("exec", "a", "--", "sh", "-c", `cd /tmp/from; stat -c '%n %a %u %Y' big run sub; readlink link; stat -c %s sparse; test $(stat -c %b sparse) -lt 1000 && echo holes`)
	want := "big 640 0 981173106\nrun 755 0 981173106\nsub 750 0 981173106\nrun\n268435456\nholes"
	if out != want {
		t.Errorf("in the guest:\n%s\nwant\n%s", out, want)
	}
	back := filepath.Join(here, "back")
	b.ok("cp", "a:/tmp/from", back)
	if there, again := describe(t, from), describe(t, back); there != again {
		t.Errorf("came back as\n%s\nwent as\n%s", again, there)
	}

	if out := b.ok("cp", "a:/proc/version", "-"); !strings.HasPrefix(out, "Linux version ") {
		t.Errorf("to a stream: %q", out)
	}
	if out, code := b.script(t, `echo streamed | "$ARCBOX" cp -u nobody - a:/tmp/in && "$ARCBOX" exec -u nobody a cat /tmp/in && "$ARCBOX" exec a stat -c %u /tmp/in`); code != 0 || out != "streamed\n65534\n" {
		t.Errorf("from a stream: exit %d, %q", code, out)
	}

	b.ok("exec", "a", "--", "sh", "-c", "mkdir /tmp/evil; cd /tmp/evil; echo kept >kept; ln -s /etc/passwd out; ln -s .. up; mkfifo pipe")
	r := b.run("cp", "a:/tmp/evil", here)
	if r.code != 7 || !strings.Contains(r.err, "3 left out") || !strings.Contains(r.err, `"/etc/passwd"`) {
		t.Errorf("a hostile tree: %+v", r)
	}
	if list, err := os.ReadDir(filepath.Join(here, "evil")); err != nil || len(list) != 1 || list[0].Name() != "kept" {
		t.Errorf("of a hostile tree came %v, %v", list, err)
	}
	b.interruptedCopy()
}

// interruptedCopy presses Ctrl-C once progress is shown.
func (b *bed) interruptedCopy() {
	b.t.Helper()
	c := b.sit("cp", "-", "a:/tmp/endless")
	c.enter("not much\n") // and no end
	c.await("copying")
	c.enter("\x03")
	c.end(130)
	b.eventually("no half of a file is left in the guest", 30*time.Second, func() bool {
		return b.ok("exec", "a", "--", "sh", "-c", "ls -A /tmp | grep -e part -e endless; true") == ""
	})
}

// growTree makes a tree with one of everything that is copied.
func growTree(t *testing.T, dir string) {
	t.Helper()
	big := make([]byte, 3<<20+17)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(big)
	for _, e := range []struct {
		name string
		mode fs.FileMode
		data []byte
	}{
		{"", fs.ModeDir | 0o755, nil}, {"empty", 0o600, nil}, {"big", 0o640, big}, {"run", 0o755, []byte("#!/bin/sh\n")},
		{"sub", fs.ModeDir | 0o750, nil}, {"sub/o'dd \xff", 0o444, []byte("x")}, {"sparse", 0o600, nil},
	} {
		path := filepath.Join(dir, e.name)
		var err error
		if e.mode.IsDir() {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, e.data, 0o600)
		}
		if err := errors.Join(err, os.Chmod(path, e.mode.Perm())); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "sparse"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("middle"), 100<<20)
	long := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	err = errors.Join(err, f.Truncate(256<<20), f.Close(), os.Symlink("run", filepath.Join(dir, "link")), os.Symlink("../big", filepath.Join(dir, "sub", "up")))
	for _, name := range []string{"big", "run", "sub/o'dd \xff", "sub", "empty", "sparse", ""} {
		err = errors.Join(err, os.Chtimes(filepath.Join(dir, name), long, long))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// describe is a tree in words: modes, times, targets, contents, and whether
// holes are some.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&out, "%q %v", name, info.Mode())
		if info.Mode()&fs.ModeSymlink != 0 {
			to, _ := os.Readlink(path)
			fmt.Fprintf(&out, " %s\n", to)
			return nil
		}
		fmt.Fprintf(&out, " %v", info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %d %v", len(text), bytes.Count(text, []byte("m")), info.Sys().(*syscall.Stat_t).Blocks*512 < 4<<20)
		}
		out.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
