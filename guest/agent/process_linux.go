package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

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
	argv []string
	dir  string
	env  []string
	cred *syscall.Credential
}

// findUserOrSelf looks a user up in the guest; "" is whom the agent runs as.
func findUserOrSelf(spec string) (account, error) {
	if spec == "" {
		spec = fmt.Sprint(os.Geteuid())
	}
	return findAccount(readFirst("/etc/passwd"), readFirst("/etc/group"), spec)
}

// prepare looks up the user, the directory and the program in the guest.
func prepare(s *wire.ExecStart) (*process, error) {
	a, err := findUserOrSelf(s.GetUser())
	if err != nil {
		return nil, err
	}
	return prepareAs(a, s)
}

// prepareAs is for a user who was looked up before.
func prepareAs(a account, s *wire.ExecStart) (p *process, err error) {
	p = &process{argv: s.GetArgv(), dir: s.GetDir(), env: environment(a, s)}
	if os.Geteuid() == 0 {
		p.cred = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	} else if int(a.uid) != os.Geteuid() {
		return nil, fmt.Errorf("user %q: the agent does not run as root", a.name)
	}
	if p.dir == "" {
		if p.dir = a.home; !isDir(p.dir) {
			p.dir = "/"
		}
	} else if !isDir(p.dir) {
		return nil, &notRunError{status: statusCantRun, what: p.dir, err: errors.New("not a directory in the guest")}
	}
	if s.GetLogin() {
		p.path, p.argv = a.shell, login(a.shell, p.argv)
		return p, nil
	}
	p.path, err = lookUp(p.argv[0], p.dir, pathOf(p.env))
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
// A terminal becomes the session's controlling one.
func (p *process) attr(io streams) *syscall.ProcAttr {
	return &syscall.ProcAttr{
		Dir: p.dir, Env: p.env, Files: io.theirFiles(),
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: io.terminal, Credential: p.cred},
	}
}

// streams makes what the program's standard streams are joined to.
func (p *process) streams(terminal *wire.TerminalSize) (streams, error) {
	if terminal == nil {
		return newPipes()
	}
	owner := -1
	if p.cred != nil {
		owner = int(p.cred.Uid)
	}
	return newTerminal(terminal, owner)
}
