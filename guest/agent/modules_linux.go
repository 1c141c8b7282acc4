package agent

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// moduleHome is where modprobe looks, in a directory of the kernel's release.
const moduleHome = "lib/modules"

// mountModules puts the modules of the running kernel where modprobe looks for them,
// below root.
func mountModules(root string) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	device, err := awaitDevice(wire.SerialModules)
	if err != nil {
		return err
	}
	on, err := moduleDir(root, unix.ByteSliceToString(name.Release[:]))
	if err != nil {
		return err
	}
	return mountAt(device, on, "erofs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
}

// moduleDir makes the directory for the modules of a release. What is empty beside
// it was made for another kernel, and is of no use to this one.
func moduleDir(root, release string) (string, error) {
	home := filepath.Join(root, moduleHome)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	others, err := os.ReadDir(home)
	if err != nil {
		return "", err
	}
	for _, o := range others {
		if o.IsDir() && o.Name() != release {
			if err := removeEmpty(filepath.Join(home, o.Name())); err != nil {
				return "", err
			}
		}
	}
	on := filepath.Join(home, release)
	return on, os.MkdirAll(on, 0o755)
}
