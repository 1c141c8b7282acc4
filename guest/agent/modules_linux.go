package agent

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// moduleHome is where modprobe looks, in a directory of the kernel's release.
const moduleHome = "lib/modules"

// nodesFile lists device nodes that are there before their module is: whoever opens
// one has it loaded.
const (
	nodesFile = "modules.nodes"
	maxNodes  = 1 << 20
)

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
	if err := mountAt(device, on, "erofs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return err
	}
	return makeNodes(filepath.Join(on, nodesFile), filepath.Join(root, "dev"))
}

// makeNodes makes the nodes of a list, where there are none, for root alone: udev, or
// who loads the module, says who else may.
func makeNodes(list, dev string) error {
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxNodes))
	for lines.Scan() {
		n, err := parseNode(lines.Text())
		if err != nil {
			return err
		}
		path := filepath.Join(dev, n.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := unix.Mknod(path, n.mode, int(unix.Mkdev(n.major, n.minor))); err != nil && err != unix.EEXIST { //nolint:gosec // a device's number
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return lines.Err()
}

// node is a device node.
type node struct {
	name         string // below /dev
	mode         uint32
	major, minor uint32
}

func parseNode(line string) (n node, err error) {
	var module string
	var kind rune
	if _, err := fmt.Sscanf(line, "%s %s %c%d:%d", &module, &n.name, &kind, &n.major, &n.minor); err != nil {
		return node{}, fmt.Errorf("device node %q: %w", line, err)
	}
	n.mode = map[rune]uint32{'c': unix.S_IFCHR | 0o600, 'b': unix.S_IFBLK | 0o600}[kind]
	if n.mode == 0 || !filepath.IsLocal(n.name) || n.major > 0xfff || n.minor > 0xfffff {
		return node{}, fmt.Errorf("device node %q: a name below /dev, c or b, and two numbers are wanted", line)
	}
	return n, nil
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
