package agent

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// streams are the ends of a program's standard streams: three pipes, or one
// terminal. Ours don't block a thread; theirs must be the ordinary kind, since
// programs expect it.
type streams struct {
	stdin, stdout *os.File // with a terminal, both are its master
	stderr        *os.File // nil with a terminal
	terminal      bool
	theirs        *[3]int // with a terminal, all the same
}

func newPipes() (streams, error) {
	s := streams{theirs: &[3]int{-1, -1, -1}}
	for i, ours := range []**os.File{&s.stdin, &s.stdout, &s.stderr} {
		var fd [2]int
		if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
			s.close()
			return s, err
		}
		mine, other := fd[0], fd[1]
		if i == 0 {
			mine, other = other, mine
		}
		s.theirs[i] = other
		if err := unix.SetNonblock(mine, true); err != nil {
			unix.Close(mine)
			s.close()
			return s, err
		}
		*ours = os.NewFile(uintptr(mine), [...]string{"stdin", "stdout", "stderr"}[i])
	}
	return s, nil
}

func (s streams) theirFiles() []uintptr {
	return []uintptr{uintptr(s.theirs[0]), uintptr(s.theirs[1]), uintptr(s.theirs[2])}
}

func (s streams) closeTheirs() {
	for i, fd := range s.theirs {
		if fd >= 0 && (i == 0 || !s.terminal) {
			unix.Close(fd)
		}
		s.theirs[i] = -1
	}
}

func (s streams) close() {
	s.closeTheirs()
	for _, f := range []*os.File{s.stdin, s.stdout, s.stderr} {
		if f != nil {
			f.Close() // a second time is harmless
		}
	}
}

// linger gives output that is still open its last time.
func (s streams) linger() {
	until := time.Now().Add(lingerTime)
	for _, f := range []*os.File{s.stdout, s.stderr} {
		if f != nil {
			f.SetReadDeadline(until) //nolint:errcheck // it fails only where the file can't wait, and then nothing hangs
		}
	}
}

// restMost is the most that is read of output that was cut off: what a pipe
// holds, unless root has raised the limit.
const restMost = 1 << 20

// rest sends what is in a pipe or a terminal now: the program wrote it before
// it ended, however slow the client was. It takes no more than a pipe holds,
// or a child left behind could write for ever.
func rest(r *os.File, buf []byte, send func([]byte) error) {
	conn, err := r.SyscallConn()
	if err != nil || r.SetReadDeadline(time.Time{}) != nil {
		return
	}
	for taken := 0; taken < restMost; {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf) // -1 where it would wait
			return true
		})
		if err != nil || n <= 0 || send(buf[:n]) != nil {
			return
		}
		taken += n
	}
}
