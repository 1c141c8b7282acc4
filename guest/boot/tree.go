package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// kernel is what a tree of unpacked packages holds.
type kernel struct {
	release string
	image   string // path of the bzImage, or of whatever the architecture has
	modules string // path of the directory with modules.builtin and kernel/
}

// findKernel finds the one kernel in a tree: a modules directory, with or
// without the merged /usr, and the image of the same release.
func findKernel(tree string) (kernel, error) {
	var found []kernel
	seen := map[string]bool{}
	for _, lib := range []string{"lib/modules", "usr/lib/modules"} {
		entries, err := os.ReadDir(filepath.Join(tree, lib))
		if err != nil {
			continue // one of the two is enough; none is reported below
		}
		for _, e := range entries {
			k := kernel{release: e.Name(), modules: filepath.Join(tree, lib, e.Name())}
			for _, image := range []string{
				filepath.Join(tree, "boot", "vmlinuz-"+k.release),
				filepath.Join(k.modules, "vmlinuz"),
			} {
				if _, err := os.Stat(image); err == nil && k.image == "" {
					k.image = image
				}
			}
			if k.image != "" && !seen[k.release] {
				seen[k.release] = true
				found = append(found, k)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return kernel{}, fmt.Errorf("kernel tree %s: no boot/vmlinuz-<release> with a lib/modules/<release> beside it", tree)
	}
	var releases []string
	for _, k := range found {
		releases = append(releases, k.release)
	}
	return kernel{}, fmt.Errorf("kernel tree %s: holds several kernels (%s), one is allowed", tree, strings.Join(releases, ", "))
}

const stagePrefix = ".staging-"

// newStage makes a directory for unfinished work in dir, and clears away what
// killed runs left there an hour ago or earlier.
func newStage(dir string) (string, error) {
	old, err := filepath.Glob(filepath.Join(dir, stagePrefix+"*"))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if fi, err := os.Stat(o); err == nil && time.Since(fi.ModTime()) > time.Hour {
			os.RemoveAll(o)
		}
	}
	return os.MkdirTemp(dir, stagePrefix)
}
