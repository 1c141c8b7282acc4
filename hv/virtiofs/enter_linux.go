package virtiofs

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Command is the word by which a VM host's binary is asked to [Enter].
const Command = "serve-share"

// The descriptors that virtiofsd's process inherits.
const (
	fdNull   = 0
	fdOutput = 1 // and 2
	fdLock   = 3
	fdSocket = 4 // listening
	fdSelf   = 5 // our own binary
	fdCount  = 6
)

// hold is a file system of this namespace alone, and place where the share is in it.
const (
	hold  = "/run"
	place = hold + "/share"
)

// Enter becomes virtiofsd, inside the namespaces made for it. It returns only where
// that fails. args are what [Start] put behind [Command].
func Enter(args []string) error {
	if len(args) != 4 {
		return errors.New("share: this is for VM hosts to call")
	}
	parent, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("share: %w", err)
	}
	writable, path, server := args[1] == "rw", args[2], args[3]
	// The signal is of the thread that asks for it, and is lost where credentials
	// change: unshare has changed them.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("share: parent-death signal: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("share: its VM host is gone")
	}
	if err := bind(path, writable); err != nil {
		return fmt.Errorf("share %q: %w", path, err)
	}
	if err := raiseFiles(); err != nil {
		return fmt.Errorf("share %q: open files: %w", path, err)
	}
	unix.CloseOnExec(fdSelf)
	return fmt.Errorf("share %q: run %s: %w", path, server, unix.Exec(server, serverArgv(server), []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}))
}

// bind puts the directory at its place. Nothing on the way to it may be a link: what
// was looked at when the machine was made is what is served.
func bind(path string, writable bool) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return errors.New("a symbolic link is on the way to it")
	case errors.Is(err, unix.ENOTDIR):
		return errors.New("not a directory")
	case err != nil:
		return err
	}
	defer unix.Close(fd)
	if err := unix.Mount("tmpfs", hold, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("make room for it: %w", err)
	}
	if err := os.Mkdir(place, 0o755); err != nil {
		return fmt.Errorf("make room for it: %w", err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), place, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind it: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if !writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, place, unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("keep it from being written: %w", err)
	}
	return nil
}

// raiseFiles lets virtiofsd have as many open files as it may: one for each that the
// guest knows.
func raiseFiles() error {
	var lim unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	return unix.Prlimit(0, unix.RLIMIT_NOFILE, &lim, nil)
}
