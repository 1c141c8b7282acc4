package home

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestFind(t *testing.T) {
	mine := t.TempDir()
	for _, c := range []struct {
		name string
		vars map[string]string
		want [4]string // data, socket, log, first boot directory
	}{
		{"ARCBOX_HOME", map[string]string{Var: "/a", "HOME": "/h", "XDG_DATA_HOME": "/d"},
			[4]string{"/a/data", "/a/run/engine.sock", "/a/log/engine.log", "/a/boot"}},
		{"ARCBOX_HOME without HOME", map[string]string{Var: "/a/"},
			[4]string{"/a/data", "/a/run/engine.sock", "/a/log/engine.log", "/a/boot"}},
		{"HOME alone", map[string]string{"HOME": "/h"},
			[4]string{"/h/.local/share/arcbox", "/h/.arcbox/run/engine.sock", "/h/.local/state/arcbox/engine.log", "/h/.local/share/arcbox/boot"}},
		{"XDG", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": mine},
			[4]string{"/d/arcbox", mine + "/arcbox/engine.sock", "/s/arcbox/engine.log", "/d/arcbox/boot"}},
		{"relative XDG counts as not set", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "d", "XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r"},
			[4]string{"/h/.local/share/arcbox", "/h/.arcbox/run/engine.sock", "/h/.local/state/arcbox/engine.log", "/h/.local/share/arcbox/boot"}},
		{"runtime directory that is not there", map[string]string{"HOME": "/h", "XDG_RUNTIME_DIR": "/no/such"},
			[4]string{"/h/.local/share/arcbox", "/h/.arcbox/run/engine.sock", "/h/.local/state/arcbox/engine.log", "/h/.local/share/arcbox/boot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := Find(env(c.vars))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, [4]string{h.Data, h.Socket(), h.EngineLog(), h.BootDirs()[0]}); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFindRelativeHomeIsMadeAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	h, err := Find(env(map[string]string{Var: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "x", "data"); h.Data != want {
		t.Errorf("data %s, want %s", h.Data, want)
	}
}

func TestBelow(t *testing.T) {
	h, err := Find(env(map[string]string{Var: "/a", "HOME": "/h"}))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{h.Tickets(), h.Journal(), h.Machines(), h.Images()}
	if d := cmp.Diff([]string{"/a/run/tickets.sock", "/a/data/journal", "/a/data/machines", "/a/data/images"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"/a/boot", "/h/.cache/arcbox/boot", "/usr/share/arcbox/boot"}, h.BootDirs()); d != "" {
		t.Error(d)
	}
}

func TestFindRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		vars map[string]string
		want []string
	}{
		{"no HOME", nil, []string{"ARCBOX_HOME", "HOME"}},
		{"HOME is relative", map[string]string{"HOME": "h"}, []string{"ARCBOX_HOME"}},
		{"only a part of XDG", map[string]string{"XDG_DATA_HOME": "/d"}, []string{"ARCBOX_HOME"}},
		{"too long", map[string]string{Var: "/" + strings.Repeat("x", 90)}, []string{"103", "ARCBOX_HOME", "shorter"}},
		{"line break", map[string]string{Var: "/a\nb"}, []string{"ARCBOX_HOME", "line break"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Find(env(c.vars))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %q", err, w)
				}
			}
		})
	}
}

func TestLongestRunDirectoryLeavesRoomForMachines(t *testing.T) {
	root := "/" + strings.Repeat("x", maxSocketPath-machineRoom-len("/run")-1)
	h, err := Find(env(map[string]string{Var: root}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(h.Run) + machineRoom; n != maxSocketPath {
		t.Errorf("a machine's socket takes %d bytes, want %d", n, maxSocketPath)
	}
	if _, err := Find(env(map[string]string{Var: root + "x"})); err == nil {
		t.Error("one byte more was taken")
	}
}

func TestBoot(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	for _, f := range []string{filepath.Join(root, "boot", "a"), filepath.Join(cache, "arcbox", "boot", "a"), filepath.Join(cache, "arcbox", "boot", "b")} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The temporary directory may be long, and this is not about sockets.
	h, _ := find(env(map[string]string{Var: root, "HOME": "/h", "XDG_CACHE_HOME": cache}))
	for name, want := range map[string]string{"a": filepath.Join(root, "boot", "a"), "b": filepath.Join(cache, "arcbox", "boot", "b")} {
		if got, err := h.Boot(name); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	if _, err := h.Boot("c"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/usr/share/arcbox/boot") {
		t.Errorf("missing: %v", err)
	}
}
