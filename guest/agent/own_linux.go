package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ownTrees are directories of programs that make overlays and snapshots of their
// own, which another overlay can't carry: in a root that has the program, they lie on
// the data disk itself.
var ownTrees = []struct{ program, name, dir string }{
	{"dockerd", "docker", "var/lib/docker"},
	{"containerd", "containerd", "var/lib/containerd"},
}

// mountOwn puts the trees of the programs that a root has in their place; data is the
// data disk. What the image or an older boot has there is below, and stays. What can't
// be had leaves the program on the overlay.
func mountOwn(root, data string, log *slog.Logger) {
	for _, t := range ownTrees {
		if !hasProgram(root, t.program) {
			continue
		}
		if err := bindOwn(filepath.Join(root, t.dir), filepath.Join(data, t.name)); err != nil {
			log.Warn("set up", "what", t.dir, "err", err)
		}
	}
}

func hasProgram(root, name string) bool {
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/local/bin"} {
		if info, err := os.Stat(filepath.Join(root, dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// bindOwn begins with an empty directory, once: one that has files on the overlay
// already goes on there.
func bindOwn(on, from string) error {
	entries, err := os.ReadDir(on)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(from); err != nil && len(entries) > 0 {
		return fmt.Errorf("%d files are in it: it stays where it is", len(entries))
	}
	for dir, mode := range map[string]os.FileMode{from: 0o711, on: 0o711} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	return unix.Mount(from, on, "", unix.MS_BIND, "")
}
