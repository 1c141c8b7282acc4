package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what sockaddr_un holds on Linux (108) and macOS (104),
// without the NUL.
const maxSocketPath = 103

// SocketPath is the path of a socket in a run directory, if it fits.
func SocketPath(runDir, name string) (string, error) {
	path := filepath.Join(runDir, name)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("socket path %q has %d bytes: at most %d; use a shorter run directory", path, len(path), maxSocketPath)
	}
	return path, nil
}

// Listen makes a socket that nobody but this user can reach. Whoever listened
// there before is dead: this process has the lock.
func Listen(runDir, name string) (*net.UnixListener, error) {
	path, err := SocketPath(runDir, name)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(runDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(runDir, &st); err != nil {
		return nil, fmt.Errorf("run directory %s: %w", runDir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("run directory %s: must be a directory of user %d that no other may write to", runDir, os.Geteuid())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), l.Close())
	}
	return l, nil
}

// Admitted refuses a peer that is neither this user nor root, by the kernel's
// word.
func Admitted(c *net.UnixConn) error {
	uid, err := peerUID(c)
	if err != nil {
		return err
	}
	if uid != 0 && int64(uid) != int64(os.Geteuid()) {
		return fmt.Errorf("user %d is a stranger", uid)
	}
	return nil
}
