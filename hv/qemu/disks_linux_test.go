package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

func TestOpenDisks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"disk": "x", "empty": "", "mine": "x"} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("disk", at("link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		disk hv.Disk
		want string // of the error; "" = it opens
	}{
		{hv.Disk{Path: at("disk")}, ""},
		{hv.Disk{Path: at("link"), ReadOnly: true}, ""},
		{hv.Disk{Path: at("fifo")}, "no file"},
		{hv.Disk{Path: at("empty")}, "empty"},
		{hv.Disk{Path: dir}, "no file"},
		{hv.Disk{Path: "/dev/null"}, "no file"},
		{hv.Disk{Path: "/dev/null", Device: true}, "no block device"},
		{hv.Disk{Path: at("disk"), Device: true}, "no block device"},
		{hv.Disk{Path: at("none")}, "no such file"},
	} {
		files, err := openDisks([]hv.Disk{{Path: at("mine")}, c.disk})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.disk.Path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c.disk, err)
			}
			continue
		}
		if err != nil || len(files) != 2 {
			t.Errorf("%+v: %v", c.disk, err)
			continue
		}
		if _, err := files[1].WriteString("y"); (err != nil) != c.disk.ReadOnly {
			t.Errorf("%+v: a write: %v", c.disk, err)
		}
		for _, f := range files {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestInPaths(t *testing.T) {
	disks := []hv.Disk{{Path: "/a"}, {Path: "/b"}}
	for said, want := range map[string]string{
		"qemu: -device x: Failed to get \"write\" lock; Is another process using the image [/dev/fdset/1]?": `disk "/b" is in use`,
		"Could not read '/dev/fdset/0': Input/output error":                                                 "Could not read '/a'",
		"something else": "something else",
	} {
		if got := inPaths(said, disks); !strings.Contains(got, want) {
			t.Errorf("%s: %s", said, got)
		}
	}
}
