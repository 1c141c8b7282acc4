package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// notifySocket is where systemd says that it has started all that it should.
const notifySocket = "@arcbox/notify"

// listenNotify makes the socket. Who sends is told along with what is sent: any
// program of the guest can.
func listenNotify() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: notifySocket}); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// watchInit says when the init is ready. One that says nothing of itself, and runs
// no OpenRC, is taken to be at once.
func (m *machine) watchInit() {
	var err error
	if m.init.kind == initSystemd {
		err = awaitNotify(os.NewFile(fdNotify, "notify"))
	} else {
		err = awaitOpenRC(context.Background(), "/")
	}
	if err != nil { // nobody will ever know
		m.log.Error("init", "path", m.init.path, "err", err)
		return
	}
	m.phases.Mark("booted")
	m.log.Info("init is ready", "path", m.init.path, "phases", m.phases.all())
	close(m.booted)
}

// awaitNotify waits for process 1 to be ready, and reads on: a full socket would
// stop whoever writes to it.
func awaitNotify(f *os.File) error {
	c, err := net.FilePacketConn(f)
	f.Close()
	if err != nil {
		return err
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return errors.Join(fmt.Errorf("the socket is a %T", c), c.Close())
	}
	for {
		text, from, err := receiveFrom(socket)
		if err != nil {
			return errors.Join(err, socket.Close())
		}
		if from == 1 && saysReady(text) {
			go drain(socket)
			return nil
		}
	}
}

// drain reads on until nobody can write any more.
func drain(socket *net.UnixConn) {
	for {
		if _, _, err := receiveFrom(socket); err != nil {
			_ = socket.Close() // nothing more comes, and nobody waits for it
			return
		}
	}
}

// receiveFrom gives one message and the process that sent it, 0 = unknown.
func receiveFrom(socket *net.UnixConn) (text string, pid int32, err error) {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, nOOB, _, _, err := socket.ReadMsgUnix(buf, oob)
	if err != nil {
		return "", 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:nOOB])
	if err != nil {
		return string(buf[:n]), 0, nil
	}
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			pid = cred.Pid
		}
	}
	return string(buf[:n]), pid, nil
}

func saysReady(text string) bool { return slices.Contains(strings.Split(text, "\n"), "READY=1") }

// awaitOpenRC waits until OpenRC has reached a run level, where the image has it.
func awaitOpenRC(ctx context.Context, root string) error {
	if _, err := os.Stat(filepath.Join(root, "sbin/openrc")); err != nil {
		return nil
	}
	return awaitFiles(ctx, func() (bool, error) { return openRCReady(root), nil }, filepath.Join(root, openRCDir))
}

// openRCDir is where OpenRC says how far it is.
const openRCDir = "run/openrc"

// openRCReady tells whether OpenRC is in a run level of normal work, and through
// with starting it.
func openRCReady(root string) bool {
	level := oneLine(filepath.Join(root, openRCDir, "softlevel"))
	if _, err := os.Lstat(filepath.Join(root, openRCDir, "rc.starting")); err == nil {
		return false
	}
	return level != "" && !slices.Contains([]string{"sysinit", "boot"}, level)
}
