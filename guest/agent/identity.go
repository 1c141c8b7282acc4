package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// identity is who a machine is. Its files are written where nobody inside ever
// changed them: what an image has of its builder is no machine's, and what was
// changed is the machine's own. root is where the machine's root is, upper where
// the files are that the machine itself wrote.
type identity struct{ root, upper, name, id, zone, resolv string }

// write writes what is missing. Each failure is told, and none ends the rest.
func (i identity) write() error {
	return errors.Join(i.hostname(), i.hosts(), i.machineID(), i.resolver(), i.timeZone())
}

// untouched tells whether the machine itself never wrote a file.
func (i identity) untouched(path string) bool {
	_, err := os.Lstat(filepath.Join(i.upper, path))
	return errors.Is(err, fs.ErrNotExist)
}

func (i identity) hostname() error {
	if !i.untouched("etc/hostname") {
		return nil
	}
	return i.put("etc/hostname", i.name+"\n", 0o644)
}

// hosts adds the machine's name to those that the image knows.
func (i identity) hosts() error {
	if !i.untouched("etc/hosts") {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(i.root, "etc/hosts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("/etc/hosts: %w", err)
	}
	return i.put("etc/hosts", hostsWith(string(text), i.name), 0o644)
}

// hostsWith is a hosts file that has loopback's names, and the machine's own at
// the address that Debian gives it.
func hostsWith(text, name string) string {
	const own = "127.0.1.1"
	var b strings.Builder
	local := false
	for line := range strings.Lines(text) {
		words, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(words)
		if len(fields) > 0 && fields[0] == own {
			continue // the name of whoever built the image
		}
		local = local || len(fields) > 1 && fields[1] == "localhost"
		b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	if !local {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	}
	fmt.Fprintf(&b, "%s\t%s\n", own, name)
	return b.String()
}

// machineID is the machine's own, so that no two machines of one image have one.
func (i identity) machineID() error {
	const path = "etc/machine-id"
	if i.id == "" {
		return nil
	}
	if !i.untouched(path) {
		text, err := os.ReadFile(filepath.Join(i.root, path))
		if is := strings.TrimSpace(string(text)); err != nil || is != "" && is != "uninitialized" {
			return nil
		}
	}
	return i.put(path, i.id+"\n", 0o444)
}

// resolver leaves what is there, also a link to what a service will make; but a
// file of the image is of its builder's network, where the machine has one.
func (i identity) resolver() error {
	const path = "etc/resolv.conf"
	info, err := os.Lstat(filepath.Join(i.root, path))
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case i.resolv != "" && (missing || err == nil && info.Mode().IsRegular() && i.untouched(path)):
		return i.put(path, i.resolv, 0o644)
	case missing:
		return i.put(path, "# No name server is known yet.\n", 0o644)
	}
	return nil
}

// timeZone is the host's, where the image has none of its own and knows it.
func (i identity) timeZone() error {
	const path, zones = "etc/localtime", "usr/share/zoneinfo"
	if _, err := os.Lstat(filepath.Join(i.root, path)); i.zone == "" || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(i.root, zones, i.zone)); err != nil {
		return nil
	}
	if err := os.Symlink("/"+zones+"/"+i.zone, filepath.Join(i.root, path)); err != nil {
		return fmt.Errorf("/etc/localtime: %w", err)
	}
	return i.put("etc/timezone", i.zone+"\n", 0o644)
}

// put replaces a file, or what is in its place, by one that is whole.
func (i identity) put(path, text string, mode os.FileMode) error {
	full := filepath.Join(i.root, path)
	if old, err := os.ReadFile(full); err == nil && bytes.Equal(old, []byte(text)) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	temp := full + ".arcbox"
	err := os.WriteFile(temp, []byte(text), mode)
	if err == nil {
		err = os.Chmod(temp, mode)
	}
	if err == nil {
		err = os.Rename(temp, full)
	}
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	return nil
}
