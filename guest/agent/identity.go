package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// identity is who a machine is. Its files are written where nobody inside ever
// changed them: what an image has of its builder is no machine's, and what was
// changed is the machine's own. root is where the machine's root is, upper where
// the files are that the machine itself wrote, and given the file that says what was
// written last; "" = nobody keeps it.
type identity struct {
	root, upper, given     string
	name, id, zone, resolv string

	of givenIdentity // of the machine that this one's disk is a copy of
}

// givenIdentity is what was written last: what of it is still there is ours to
// change, where the machine has another name by now, or is another one.
type givenIdentity struct {
	Name string `json:"name"`
	ID   string `json:"id,omitempty"`
}

// maxGiven is more than a name and an id need.
const maxGiven = 4 << 10

// write writes what is missing, and what was written for another name. Each failure
// is told, and none ends the rest.
func (i identity) write() error {
	was, err := i.last()
	if was == (givenIdentity{}) {
		was = i.of
	}
	copied := was.ID != "" && i.id != "" && was.ID != i.id
	err = errors.Join(err, i.hostname(was), i.hosts(was), i.machineID(copied), i.resolver(), i.timeZone())
	if copied {
		err = errors.Join(err, i.renew())
	}
	if err != nil {
		return err
	}
	return i.give(was)
}

// last is what was written last, nothing where nobody knows.
func (i identity) last() (was givenIdentity, err error) {
	f, err := os.Open(i.given)
	if i.given == "" || errors.Is(err, fs.ErrNotExist) {
		return was, nil
	}
	if err != nil {
		return was, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxGiven)).Decode(&was); err != nil {
		return givenIdentity{}, nil // it is written anew
	}
	return was, nil
}

// give notes what was written.
func (i identity) give(was givenIdentity) error {
	now := givenIdentity{i.name, i.id}
	if i.given == "" || now == was {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return replace(i.given, string(text)+"\n", 0o600)
}

// untouched tells whether the machine itself never wrote a file.
func (i identity) untouched(path string) bool {
	_, err := os.Lstat(filepath.Join(i.upper, path))
	return errors.Is(err, fs.ErrNotExist)
}

func (i identity) hostname(was givenIdentity) error {
	const path = "etc/hostname"
	if !i.untouched(path) {
		text, err := os.ReadFile(filepath.Join(i.root, path))
		if err != nil || was.Name == "" || strings.TrimSpace(string(text)) != was.Name {
			return nil // the machine's own, or none
		}
	}
	return i.put(path, i.name+"\n", 0o644)
}

// hosts adds the machine's name to those that the image knows, or to those that the
// machine has in place of the one before.
func (i identity) hosts(was givenIdentity) error {
	const path = "etc/hosts"
	text, err := os.ReadFile(filepath.Join(i.root, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("/etc/hosts: %w", err)
	}
	if i.untouched(path) {
		return i.put(path, hostsWith(string(text), i.name), 0o644)
	}
	old, line := "\n"+hostsLine(was.Name), "\n"+hostsLine(i.name)
	if was.Name == "" || !strings.Contains("\n"+string(text), old) {
		return nil
	}
	return i.put(path, strings.Replace("\n"+string(text), old, line, 1)[1:], 0o644)
}

// ownAddress is that of the machine's own name, as Debian has it.
const ownAddress = "127.0.1.1"

func hostsLine(name string) string { return ownAddress + "\t" + name + "\n" }

// hostsWith is a hosts file that has loopback's names, and the machine's own.
func hostsWith(text, name string) string {
	var b strings.Builder
	local := false
	for line := range strings.Lines(text) {
		words, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(words)
		if len(fields) > 0 && fields[0] == ownAddress {
			continue // the name of whoever built the image
		}
		local = local || len(fields) > 1 && fields[1] == "localhost"
		b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	if !local {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	}
	b.WriteString(hostsLine(name))
	return b.String()
}

// machineID is the machine's own, so that no two machines of one image, or of one
// disk, have one.
func (i identity) machineID(copied bool) error {
	const path = "etc/machine-id"
	if i.id == "" {
		return nil
	}
	if !copied && !i.untouched(path) {
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
	if err := replace(full, text, mode); err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	return nil
}

// replace writes a file that is whole, or leaves what was there.
func replace(path, text string, mode os.FileMode) error {
	temp := path + ".arcbox"
	err := os.WriteFile(temp, []byte(text), mode)
	if err == nil {
		err = os.Chmod(temp, mode)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	return err
}
