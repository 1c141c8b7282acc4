package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// news is a descriptor by which the kernel tells that something has changed.
// What, is to be looked at.
type news struct{ f *os.File }

// await looks, and looks again with each change, until look has found what it
// wants or has failed, or ctx is over.
func (n news) await(ctx context.Context, look func() (found bool, err error)) error {
	defer context.AfterFunc(ctx, func() { _ = n.f.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 4096)
	for {
		if found, err := look(); found || err != nil {
			return err
		}
		_, err := n.f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !errors.Is(err, unix.ENOBUFS): // some that nobody has read are gone: look, all the same
			return fmt.Errorf("await a change: %w", err)
		}
	}
}

func (n news) close() { _ = n.f.Close() }

// Whose changes there are by netlink.
const (
	linkGroups   = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	kernelGroups = 1
)

// linkNews tells of interfaces and of their addresses.
func linkNews() (news, error) { return netlinkNews(unix.NETLINK_ROUTE, linkGroups) }

// deviceNews tells of devices.
func deviceNews() (news, error) { return netlinkNews(unix.NETLINK_KOBJECT_UEVENT, kernelGroups) }

func netlinkNews(family int, groups uint32) (news, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return news{}, fmt.Errorf("netlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return news{}, errors.Join(fmt.Errorf("netlink: %w", err), unix.Close(fd))
	}
	return news{os.NewFile(uintptr(fd), "netlink")}, nil
}

// fileChanges are those that matter to who waits for a file, or for its end.
const fileChanges = unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVED_FROM

// awaitFiles looks, and looks again whenever something has changed in one of the
// directories. Those that are not there yet are waited for, too.
func awaitFiles(ctx context.Context, look func() (found bool, err error), dirs ...string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	n := news{os.NewFile(uintptr(fd), "inotify")}
	defer n.close()
	return n.await(ctx, func() (bool, error) {
		for _, dir := range dirs { // anew each time: there may be more of it
			if err := watchDown(fd, dir); err != nil {
				return false, err
			}
		}
		return look()
	})
}

// watchDown watches a directory, and all above it: from the top, so that none
// that is made meanwhile is missed.
func watchDown(fd int, dir string) error {
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean(dir), "/")+"/", "/") {
		_, err := unix.InotifyAddWatch(fd, at, fileChanges|unix.IN_ONLYDIR)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", at, err)
		}
		at = filepath.Join(at, part)
	}
	return nil
}
