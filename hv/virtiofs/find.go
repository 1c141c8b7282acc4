package virtiofs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// programs are where distributions put virtiofsd; no PATH has it.
var programs = []string{"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/qemu/vhost-user/virtiofsd"}

// What is missing, and what brings it.
var (
	ErrNoServer = errors.New("virtiofsd is not installed (Debian 12, Ubuntu 22.04: apt-get install qemu-system-common; later, and Fedora: the package virtiofsd)")
	ErrNoIDs    = errors.New("only root shares directories without subordinate ids")
)

// Find is the host's virtiofsd.
func Find() (string, error) {
	for _, p := range programs {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	if p, err := exec.LookPath("virtiofsd"); err == nil {
		return p, nil
	}
	return "", ErrNoServer
}

// Usable says what the host lacks for the user to share directories; nil = nothing.
func Usable() error {
	if _, err := Find(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return nil
	}
	for _, p := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%w, and %s is not installed (apt-get install uidmap)", ErrNoIDs, p)
		}
	}
	return nil
}

// argv is the command line of virtiofsd's process, from outside in: the namespaces,
// our own binary at a descriptor, and what that needs to know.
func argv(writable, root bool, path, server, parent string) []string {
	words := []string{"unshare", "--mount", "--propagation", "private"}
	if !root {
		words = append(words, "--user", "--map-root-user", "--map-auto")
	}
	how := "ro"
	if writable {
		how = "rw"
	}
	return append(words, "--", fmt.Sprintf("/proc/self/fd/%d", fdSelf), Command, parent, how, path, server)
}

// serverArgv is that of virtiofsd itself.
func serverArgv(server string) []string {
	return []string{server, fmt.Sprintf("--fd=%d", fdSocket), "-o", strings.Join([]string{
		"source=" + place, "sandbox=namespace", "cache=auto", "xattr",
	}, ","), "--rlimit-nofile=0"}
}
