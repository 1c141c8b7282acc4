package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDeviceOf(t *testing.T) {
	dir := t.TempDir()
	for name, serial := range map[string]string{"vda": "image", "vdb": "data\n", "loop0": ""} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if serial == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name, "serial"), []byte(serial), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if name, err := deviceOf(dir, "data"); err != nil || name != "vdb" {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := deviceOf(dir, "modules"); err == nil || !strings.Contains(err.Error(), `vda "image"`) {
		t.Errorf("what is there is not named: %v", err)
	}
}

// TestEmptyRoot: everything goes, also what can't be read by others.
func TestEmptyRoot(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"a/b/c", "d"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := emptyRoot(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestModuleDir: what another kernel left goes where it is empty, and nothing else.
func TestModuleDir(t *testing.T) {
	root := t.TempDir()
	home := filepath.Join(root, "usr/lib/modules")
	for _, dir := range []string{"6.1.0-old", "6.1.0-dkms/updates", "6.1.1"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		on, err := moduleDir(root, "6.1.1")
		if err != nil || on != filepath.Join(root, "lib/modules/6.1.1") {
			t.Fatalf("%q, %v", on, err)
		}
		left, err := filepath.Glob(filepath.Join(home, "*"))
		if err != nil || len(left) != 2 || filepath.Base(left[0]) != "6.1.0-dkms" || filepath.Base(left[1]) != "6.1.1" {
			t.Errorf("left %q, %v", left, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(root, "usr")); err != nil {
		t.Fatal(err)
	}
	if _, err := moduleDir(root, "6.1.1"); err == nil {
		t.Error("a link that leads nowhere was no error")
	}
}

func TestParseNode(t *testing.T) {
	for line, want := range map[string]node{
		"fuse fuse c10:229":    {"fuse", unix.S_IFCHR | 0o600, 10, 229},
		"tun net/tun c10:200":  {"net/tun", unix.S_IFCHR | 0o600, 10, 200},
		"x disk b259:1048575":  {"disk", unix.S_IFBLK | 0o600, 259, 1048575},
		"x ../etc/passwd c1:1": {},
		"x /dev/mem c1:1":      {},
		"x mem p1:1":           {},
		"x mem c-1:1":          {},
		"x mem c4096:1":        {},
		"x mem c1:1048576":     {},
		"x mem":                {},
		"":                     {},
	} {
		got, err := parseNode(line)
		if got != want || (err == nil) != (want != node{}) {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
}
