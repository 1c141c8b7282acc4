package agent

import (
	"os"
	"path/filepath"
	"strings"
)

// distribution is the init that an image brings.
type distribution struct {
	path string // in the image
	kind initKind
}

type initKind string

// What is known of inits is how they say that they are ready and how they are
// asked to shut down.
const (
	initSystemd initKind = "systemd"
	initBusybox initKind = "busybox"
	initOther   initKind = "other"
)

// inits are where an init may be, the first that is there wins.
var inits = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/openrc-init", "/etc/init", "/bin/init"}

// findInit finds the init of the image at root; false = it has none.
func findInit(root string) (distribution, bool) {
	for _, path := range inits {
		real, err := filepath.EvalSymlinks(filepath.Join(root, path))
		if err != nil {
			continue
		}
		info, err := os.Stat(real)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		switch filepath.Base(real) {
		case "systemd":
			return distribution{path, initSystemd}, true
		case "busybox":
			if !usesBusybox(root) {
				continue
			}
			return distribution{path, initBusybox}, true
		}
		return distribution{path, initOther}, true
	}
	return distribution{}, false
}

// usesBusybox tells whether busybox is the image's init, and not only a link of
// that name among all others: then it has a table whose first programs are there.
func usesBusybox(root string) bool {
	table, err := os.ReadFile(filepath.Join(root, "etc/inittab"))
	if err != nil {
		return false
	}
	found := false
	for line := range strings.Lines(string(table)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 4)
		if len(fields) < 4 || strings.HasPrefix(fields[0], "#") || fields[2] != "sysinit" {
			continue
		}
		program := strings.TrimLeft(fields[3], "-")
		if words := strings.Fields(program); len(words) > 0 {
			program = words[0]
		}
		if _, err := os.Stat(filepath.Join(root, program)); err != nil {
			return false
		}
		found = true
	}
	return found
}
