package boot

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// content is what an initramfs is made of.
type content struct {
	release string
	agent   []byte
	busybox []byte
	applets []string
	modules []module
}

// guestDirs are made in the initramfs. The agent mounts over some of them.
var guestDirs = []struct {
	name string
	mode cpio.FileMode
}{
	{"arcbox", 0o700}, {"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755},
	{"mnt", 0o755}, {"proc", 0o555}, {"root", 0o700}, {"run", 0o755}, {"sys", 0o555}, {"tmp", 0o1777},
	{"usr", 0o755}, {"var", 0o755}, {"var/log", 0o755},
}

// guestLinks keep the usual paths of programs working.
var guestLinks = [][2]string{
	{"sbin", "bin"}, {"usr/bin", "../bin"}, {"usr/sbin", "../bin"}, {"var/run", "../run"}, {"var/tmp", "../tmp"},
}

var guestFiles = [][2]string{
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
	{"etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
}

// archive writes a newc archive. After an error the others do nothing.
type archive struct {
	w   *cpio.Writer
	err error
}

// add writes one entry. No times and no owners but root: the same content
// gives the same bytes.
func (a *archive) add(name string, mode cpio.FileMode, body []byte) {
	if a.err != nil {
		return
	}
	a.err = a.w.WriteHeader(&cpio.Header{Name: name, Mode: mode, Links: 1, Size: int64(len(body))})
	if a.err == nil && len(body) > 0 {
		_, a.err = a.w.Write(body)
	}
}

func (a *archive) close() error {
	if a.err != nil {
		return fmt.Errorf("initramfs: %w", a.err)
	}
	if err := a.w.Close(); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return nil
}

// writeInitramfs writes the archive, uncompressed, to w.
func writeInitramfs(w io.Writer, c content) error {
	a := &archive{w: cpio.NewWriter(w)}
	for _, d := range guestDirs {
		a.add(d.name, cpio.TypeDir|d.mode, nil)
	}
	for _, l := range guestLinks {
		a.add(l[0], cpio.TypeSymlink|0o777, []byte(l[1]))
	}
	for _, f := range guestFiles {
		a.add(f[0], cpio.TypeReg|0o644, []byte(f[1]))
	}
	a.add("init", cpio.TypeReg|0o755, c.agent)
	a.add("bin/busybox", cpio.TypeReg|0o755, c.busybox)
	for _, name := range c.applets {
		a.add("bin/"+name, cpio.TypeSymlink|0o777, []byte("busybox"))
	}
	a.addModules("lib/modules.order", c.release, c.modules)
	return a.close()
}

// writeFurther writes an archive that goes behind the initramfs of some machines:
// modules, and the list of them.
func writeFurther(w io.Writer, list, release string, modules []module) error {
	a := &archive{w: cpio.NewWriter(w)}
	a.addModules(list, release, modules)
	return a.close()
}

// addModules adds modules and the list of them. It brings its directories
// along, so that it fits behind any archive.
func (a *archive) addModules(list, release string, modules []module) {
	dir := path.Join("lib/modules", release)
	for _, d := range []string{"lib", "lib/modules", dir} {
		a.add(d, cpio.TypeDir|0o755, nil)
	}
	var order strings.Builder
	for _, m := range modules {
		file := path.Join(dir, m.name+".ko")
		a.add(file, cpio.TypeReg|0o644, m.data)
		order.WriteString("/" + file + "\n")
	}
	a.add(list, cpio.TypeReg|0o644, []byte(order.String()))
}

// parseApplets reads the output of `busybox --list`. Names become paths, so a
// name that could leave /bin is refused, and busybox itself is left out.
func parseApplets(list string) ([]string, error) {
	var names []string
	for _, name := range strings.Fields(list) {
		if strings.Contains(name, "/") || name == "." || name == ".." || len(name) > 64 {
			return nil, fmt.Errorf("busybox --list: %q is no applet name", name)
		}
		if name != "busybox" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("busybox --list: no applets")
	}
	return names, nil
}
