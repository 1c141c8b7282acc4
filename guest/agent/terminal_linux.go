package agent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// newTerminal makes a pseudo-terminal whose slave belongs to the user that the
// program runs as; -1 = to the agent's.
//
// The slave is opened through the master, so that it is the right one whatever
// is mounted on /dev/pts meanwhile. A library would open the master blocking,
// where neither a deadline nor a close ends a read.
func newTerminal(size *wire.TerminalSize, owner int) (streams, error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return streams{}, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	f := os.NewFile(uintptr(master), "terminal")
	s := streams{stdin: f, stdout: f, terminal: true, theirs: &[3]int{-1, -1, -1}}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		s.close()
		return s, fmt.Errorf("unlock the terminal: %w", err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		s.close()
		return s, fmt.Errorf("open the terminal's slave: %w", errno)
	}
	*s.theirs = [3]int{int(peer), int(peer), int(peer)}
	if err := s.setUp(size, owner); err != nil {
		s.close()
		return s, err
	}
	return s, nil
}

func (s streams) setUp(size *wire.TerminalSize, owner int) error {
	slave := s.theirs[0]
	if err := unix.Fchown(slave, owner, -1); err != nil {
		return fmt.Errorf("give the terminal to user %d: %w", owner, err)
	}
	modes, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("terminal modes: %w", err)
	}
	modes.Iflag |= unix.IUTF8 // erase takes whole characters
	if err := unix.IoctlSetTermios(slave, unix.TCSETS, modes); err != nil {
		return fmt.Errorf("terminal modes: %w", err)
	}
	return s.resize(size)
}

// resize also has the kernel tell the foreground group (SIGWINCH).
func (s streams) resize(size *wire.TerminalSize) error {
	return s.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.GetRows()), Col: uint16(size.GetColumns())})
	})
}

// interrupt signals the foreground group, as a key does, and tells whether the
// signal is one that a terminal sends.
func (s streams) interrupt(sig unix.Signal) bool {
	if !s.terminal || sig != unix.SIGINT && sig != unix.SIGQUIT && sig != unix.SIGTSTP {
		return false
	}
	return s.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCSIG, int(sig)) }) == nil
}

// endInput is the end of stdin. On a terminal it is typed, once, or twice
// where it would only end a line that was begun. A program that reads keys
// knows no such end.
func (s streams) endInput(line bool) {
	if !s.terminal {
		s.stdin.Close()
		return
	}
	var end byte
	err := s.control(func(fd int) error {
		modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && modes.Lflag&unix.ICANON != 0 {
			end = modes.Cc[unix.VEOF]
		}
		return err
	})
	if err != nil || end == 0 {
		return
	}
	keys := []byte{end}
	if line {
		keys = append(keys, end)
	}
	s.stdin.Write(keys) //nolint:errcheck // a terminal that is gone needs no end
}

// control does something with the master's descriptor, while it is open.
func (s streams) control(do func(fd int) error) error {
	conn, err := s.stdin.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}
