package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Statuses of a program that was not run, as shells give them.
const (
	statusCantRun  = 126
	statusNotFound = 127
)

// notRunError is why a program did not run.
type notRunError struct {
	status int32
	what   string
	err    error
}

func (e *notRunError) Error() string { return fmt.Sprintf("%s: %v", e.what, e.err) }

func (e *notRunError) Unwrap() error { return e.err }

// notRun sorts an error of exec: 127 for a program that is not there, 126 for
// one that can't be run.
func notRun(what string, err error) error {
	status := int32(statusCantRun)
	if errors.Is(err, fs.ErrNotExist) {
		status = statusNotFound
	}
	return &notRunError{status: status, what: what, err: err}
}

// process is a program, looked up.
type process struct {
	path string
	dir  string
	env  []string
	cred *syscall.Credential
}

// prepare looks up the user, the directory and the program in the guest.
func prepare(s *wire.ExecStart) (*process, error) {
	spec := s.GetUser()
	if spec == "" {
		spec = "0"
		if uid := os.Geteuid(); uid != 0 {
			spec = fmt.Sprint(uid)
		}
	}
	a, err := findAccount(readFirst("/etc/passwd"), readFirst("/etc/group"), spec)
	if err != nil {
		return nil, err
	}
	p := &process{dir: s.GetDir(), env: environment(a, s.GetEnv())}
	if os.Geteuid() == 0 {
		p.cred = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	} else if int(a.uid) != os.Geteuid() {
		return nil, fmt.Errorf("user %q: the agent does not run as root", spec)
	}
	if p.dir == "" {
		if p.dir = a.home; !isDir(p.dir) {
			p.dir = "/"
		}
	} else if !isDir(p.dir) {
		return nil, &notRunError{status: statusCantRun, what: p.dir, err: errors.New("not a directory in the guest")}
	}
	p.path, err = lookUp(s.GetArgv()[0], p.dir, pathOf(p.env))
	return p, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func pathOf(env []string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			return value
		}
	}
	return ""
}

// lookUp finds a program as a shell does: by the path, where the name has no
// slash. A file that can't be run is remembered, and searched on past.
func lookUp(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // relative to dir, where exec happens
	}
	found := error(fs.ErrNotExist)
	for _, in := range filepath.SplitList(path) {
		if !filepath.IsAbs(in) {
			in = filepath.Join(dir, in)
		}
		file := filepath.Join(in, name)
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 != 0 {
			return file, nil
		}
		found = fs.ErrPermission
	}
	return "", notRun(name, found)
}

// attr makes the program the leader of a session, and so of a process group.
func (p *process) attr(io pipes) *syscall.ProcAttr {
	return &syscall.ProcAttr{
		Dir: p.dir, Env: p.env,
		Files: []uintptr{uintptr(io.theirs[0]), uintptr(io.theirs[1]), uintptr(io.theirs[2])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: p.cred},
	}
}

// pipes are the ends of a program's standard streams. Ours don't block a
// thread; theirs must be the ordinary kind, since programs expect it.
type pipes struct {
	stdin, stdout, stderr *os.File
	theirs                *[3]int
}

func newPipes() (pipes, error) {
	p := pipes{theirs: &[3]int{-1, -1, -1}}
	for i, ours := range []**os.File{&p.stdin, &p.stdout, &p.stderr} {
		var fd [2]int
		if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
			p.close()
			return p, err
		}
		mine, other := fd[0], fd[1]
		if i == 0 {
			mine, other = other, mine
		}
		p.theirs[i] = other
		if err := unix.SetNonblock(mine, true); err != nil {
			unix.Close(mine)
			p.close()
			return p, err
		}
		*ours = os.NewFile(uintptr(mine), [...]string{"stdin", "stdout", "stderr"}[i])
	}
	return p, nil
}

func (p pipes) closeTheirs() {
	for i, fd := range p.theirs {
		if fd >= 0 {
			unix.Close(fd)
			p.theirs[i] = -1
		}
	}
}

func (p pipes) close() {
	p.closeTheirs()
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close() // a second time is harmless
		}
	}
}

// linger gives output that is still open its last time.
func (p pipes) linger() {
	until := time.Now().Add(lingerTime)
	for _, f := range []*os.File{p.stdout, p.stderr} {
		f.SetReadDeadline(until) //nolint:errcheck // it fails only where the file can't wait, and then nothing hangs
	}
}

// pipeMost is the most that a pipe holds, unless root has raised the limit.
const pipeMost = 1 << 20

// rest sends what is in a pipe now: the program wrote it before it ended,
// however slow the client was. It takes no more than a pipe holds, or a child
// left behind could write for ever.
func rest(r *os.File, buf []byte, send func([]byte) error) {
	conn, err := r.SyscallConn()
	if err != nil || r.SetReadDeadline(time.Time{}) != nil {
		return
	}
	for taken := 0; taken < pipeMost; {
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
