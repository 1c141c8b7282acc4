package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
)

const (
	// stdioHello is what dial-stdio says once it is connected: what comes before
	// it is somebody else's, a shell's greeting for one.
	stdioHello = "arcbox-stdio 1\n"
	// stdioTime is how long ssh may take, a person who types a password included.
	stdioTime = time.Minute
	sshSaid   = 2 << 10 // bytes kept of what ssh says
	sshEnd    = time.Second
)

// sshDoor leads to an engine by the system's ssh, which runs dial-stdio beside
// that engine; each connection is one of ssh's.
type sshDoor struct {
	at     endpoint
	text   string   // the endpoint as it was given
	silent bool     // ask nobody for a password
	flags  []string // for arcbox there
}

var _ client.Door = sshDoor{}

// String implements client.Door.
func (d sshDoor) String() string { return d.text }

// Endpoint implements client.Door.
func (d sshDoor) Endpoint(ctx context.Context) (net.Conn, error) { return d.dial(ctx) }

// Stream implements client.Door: an engine has one socket for tickets, so that
// what the ticket says of it is not passed on.
func (d sshDoor) Stream(ctx context.Context, _ string) (net.Conn, error) {
	return d.dial(ctx, "--tickets")
}

func (d sshDoor) argv(flags ...string) []string {
	return d.line(append([]string{"engine", "dial-stdio"}, flags...)...)
}

// line is ssh's command line for one of arcbox there.
func (d sshDoor) line(words ...string) []string {
	argv := []string{"-T", "-x", "-a", "-o", "ClearAllForwardings=yes"}
	if d.silent {
		argv = append(argv, "-o", "BatchMode=yes")
	}
	if d.at.port != "" {
		argv = append(argv, "-p", d.at.port)
	}
	if d.at.user != "" {
		argv = append(argv, "-l", d.at.user)
	}
	there := "arcbox --context " + localContext
	for _, f := range d.flags {
		there += " " + f
	}
	if d.at.dir != "" {
		there += " --home " + shellWord(d.at.dir)
	}
	for _, w := range words {
		if !plainWord.MatchString(w) {
			w = shellWord(w)
		}
		there += " " + w
	}
	return append(argv, "--", d.at.host, there)
}

func (d sshDoor) dial(ctx context.Context, flags ...string) (net.Conn, error) {
	return d.dialWords(ctx, append([]string{"engine", "dial-stdio"}, flags...)...)
}

// dialWords connects to what a command of arcbox there reads and writes.
func (d sshDoor) dialWords(ctx context.Context, words ...string) (net.Conn, error) {
	program, err := sshProgram()
	if err != nil {
		return nil, err
	}
	c, err := newChildConn(exec.Command(program, d.line(words...)...)) //nolint:noctx,gosec // it ends with the connection; the words are checked
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", program, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	got, err := readHello(c)
	if stop() && err == nil {
		return c, nil
	}
	ended := c.end()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, d.failed(got, ended, c.said.String())
}

// readHello reads no byte more: the next one is the engine's.
func readHello(r io.Reader) (got string, err error) {
	buf := make([]byte, 0, len(stdioHello))
	for len(buf) < cap(buf) && err == nil {
		var n int
		n, err = r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
	}
	if err == nil && string(buf) != stdioHello {
		err = errors.New("no hello")
	}
	return string(buf), err
}

// failed says in whose hands it went wrong: ssh's, the shell's there, or arcbox's.
func (d sshDoor) failed(got string, status int, said string) error {
	f := &failure{code: exitNoEngine, kind: "unavailable", hint: "ssh " + strings.Join(d.argv()[:len(d.argv())-1], " ")}
	f.message = fmt.Sprintf("%s: ssh ended with status %d", d.text, status)
	switch {
	case got != "":
		f.message = fmt.Sprintf("%s: something there answers before arcbox does, with %q: a shell's start-up file that prints?", d.text, shorten(got, 40))
	case status == 127:
		f.message = d.text + ": there is no arcbox in the PATH of that user"
		f.hint += " 'command -v arcbox; echo $PATH'"
	case status == exitNoEngine:
		f.message, f.cause = d.text+": no engine runs there", client.ErrNoEngine
	}
	if said = strings.TrimSpace(said); said != "" {
		f.message += "; it said:\n" + said
	}
	return f
}

// childConn is a connection whose other end is a child's standard input and
// output. A socket it is, so that it has deadlines and can be closed in one
// direction.
type childConn struct {
	*net.UnixConn
	cmd  *exec.Cmd
	said *lastBytes
	over chan struct{} // closed when the child has ended
}

func newChildConn(cmd *exec.Cmd) (*childConn, error) {
	// Close-on-exec comes after the fact where there is no SOCK_CLOEXEC: no child is born in between.
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs") //nolint:gosec // descriptors are not negative
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &childConn{UnixConn: conn.(*net.UnixConn), cmd: cmd, said: &lastBytes{}, over: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, c.said
	cmd.WaitDelay = sshEnd // a master of ssh's that stays behind holds on to stderr
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() { _ = cmd.Wait(); close(c.over) }() // the code says it all
	return c, nil
}

// end waits for the child, which has said all that it will, and tells its status.
func (c *childConn) end() int {
	late := time.AfterFunc(sshEnd, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	_ = c.UnixConn.Close()
	<-c.over
	return c.cmd.ProcessState.ExitCode()
}

// Close implements net.Conn. ssh would stay as long as there is something that
// the other side may say.
func (c *childConn) Close() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	c.end()
	return nil
}

// lastBytes keeps the end of what was written.
type lastBytes struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (l *lastBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	l.buf = bytes.Clone(l.buf[max(0, len(l.buf)-sshSaid):])
	return len(p), nil
}

// String is what is kept.
func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
