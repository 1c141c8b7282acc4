package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

func TestSSHExec(t *testing.T) {
	s := serveTestSSH(t)
	c := s.client(t)
	for _, test := range []struct {
		command, stdin, stdout, stderr string
		status                         int
		signal                         string
	}{
		{command: "echo out; echo err >&2; exit 7", stdout: "out\n", stderr: "err\n", status: 7},
		{command: "cat", stdin: "through", stdout: "through"},
		{command: "kill -TERM $$", signal: "TERM"},
		{command: "no-such-program-there-is 2>/dev/null", status: 127},
		{command: `echo "$SSH_CONNECTION|$HOME"`, stdout: "UNKNOWN 65535 UNKNOWN 65535|" + os.Getenv("HOME") + "\n"},
	} {
		x := newSession(t, c)
		var stdout, stderr bytes.Buffer
		x.Stdin, x.Stdout, x.Stderr = strings.NewReader(test.stdin), &stdout, &stderr
		err := x.Run(test.command)
		status, signal := 0, ""
		if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
			status, signal = exit.ExitStatus(), exit.Signal()
		} else if err != nil {
			t.Errorf("%s: %v", test.command, err)
		}
		if signal == "" && status != test.status || signal != test.signal || stdout.String() != test.stdout || stderr.String() != test.stderr {
			t.Errorf("%s: %d %q, %q, %q", test.command, status, signal, stdout.String(), stderr.String())
		}
	}
}

func TestSSHCarriesMuch(t *testing.T) {
	const size = 3 << 20 // more than a window
	c := serveTestSSH(t).client(t)
	x := newSession(t, c)
	var stdout bytes.Buffer
	x.Stdin, x.Stdout = io.LimitReader(zeros{}, size), &stdout
	if err := x.Run("cat"); err != nil {
		t.Fatal(err)
	}
	if stdout.Len() != size {
		t.Errorf("%d bytes came back, want %d", stdout.Len(), size)
	}
	// An unread stdin holds nothing up.
	x = newSession(t, c)
	x.Stdin = io.LimitReader(zeros{}, size)
	if err := x.Run("exec true"); err != nil && !errors.Is(err, io.EOF) { // the client's word for a stdin that was not taken
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestSSHEnvironment(t *testing.T) {
	x := newSession(t, serveTestSSH(t).client(t))
	if err := x.Setenv("LANG", "C.UTF-8"); err != nil {
		t.Fatal(err)
	}
	for i := range maxSSHEnv + 1 {
		if err := x.Setenv("V"+strconv.Itoa(i), "x"); (err == nil) != (i < maxSSHEnv-1) {
			t.Fatalf("variable %d: %v", i, err)
		}
	}
	out, err := x.Output(`echo "$LANG $V0"`)
	if err != nil || string(out) != "C.UTF-8 x\n" {
		t.Errorf("%q, %v", out, err)
	}
	for _, bad := range []string{"", "A=B", "A\x00"} {
		x := newSession(t, serveTestSSH(t).client(t))
		if err := x.Setenv(bad, "x"); err != nil {
			continue
		}
		if err := x.Run("true"); err == nil {
			t.Errorf("variable %q is taken", bad)
		}
	}
}

func TestSSHTerminal(t *testing.T) {
	c := serveTestSSH(t).client(t)
	x := newSession(t, c)
	stdin, err := x.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &watched{changed: make(chan struct{}, 1)}
	x.Stdout = out
	if err := x.RequestPty("xterm-test", 33, 77, ssh.TerminalModes{ssh.ECHO: 0, ssh.VERASE: 8, ssh.TTY_OP_ISPEED: 9600}); err != nil {
		t.Fatal(err)
	}
	if err := x.Start(`tty; echo "$SSH_TTY $TERM"; stty size; stty -a | grep -o 'erase = [^;]*'; while read line; do stty size; echo "got $line"; done`); err != nil {
		t.Fatal(err)
	}
	out.await(t, "33 77\r\nerase = ^H\r\n")
	if fields := strings.Fields(out.String()); len(fields) < 3 || fields[0] != fields[1] || !strings.HasPrefix(fields[0], "/dev/pts/") || fields[2] != "xterm-test" {
		t.Errorf("terminal: %q", out.String())
	}
	if err := x.WindowChange(44, 99); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, "a line\n"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "44 99\r\ngot a line\r\n")
	if strings.Contains(out.String(), "\na line") {
		t.Error("it echoes, against the modes")
	}
	if err := x.Signal(ssh.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = x.Wait()
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.Signal() != "INT" && exit.ExitStatus() != 130 {
		t.Errorf("after INT: %v", err)
	}
}

// TestSSHShell also types the end of input.
func TestSSHShell(t *testing.T) {
	x := newSession(t, serveTestSSH(t).client(t))
	var out bytes.Buffer
	x.Stdin, x.Stdout = strings.NewReader("echo $((6*7)); exit 3\n"), &out
	if err := x.Shell(); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*ssh.ExitError](x.Wait())
	if !ok || exit.ExitStatus() != 3 || !strings.Contains(out.String(), "42\n") {
		t.Errorf("shell: %v, %q", exit, out.String())
	}
}

// TestSSHEndsWhatIsLeft: a client that goes takes its program along.
func TestSSHEndsWhatIsLeft(t *testing.T) {
	for _, pty := range []bool{false, true} {
		c := serveTestSSH(t).client(t)
		x := newSession(t, c)
		out := &watched{changed: make(chan struct{}, 1)}
		x.Stdout = out
		if pty {
			if err := x.RequestPty("vt100", 0, 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Start("echo pid $$; exec sleep 1000"); err != nil {
			t.Fatal(err)
		}
		out.await(t, "\n")
		pid, err := strconv.Atoi(strings.Fields(out.String())[1])
		if err != nil {
			t.Fatal(err)
		}
		program, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if !ends(program) {
			t.Errorf("pty %v: the program lives on", pty)
		}
	}
}

// ends awaits a process's end, and closes its descriptor.
func ends(pidfd int) bool {
	defer unix.Close(pidfd)
	late := time.Now().Add(testPatience)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(time.Until(late).Milliseconds()))
		if err != unix.EINTR {
			return n == 1
		}
	}
}

func TestSSHRefusesRequests(t *testing.T) {
	c := serveTestSSH(t).client(t)
	x := newSession(t, c)
	for _, test := range []struct {
		kind    string
		payload any
	}{
		{"x11-req", stringRequest{}},
		{"subsystem", stringRequest{"netconf"}},
		{"exec", stringRequest{"a\x00b"}},
		{"exec", struct{ Short bool }{}},
		{"pty-req", stringRequest{"xterm"}},
		{"pty-req", ptyRequest{Term: "xterm", Rows: 1 << 16}},
		{"pty-req", ptyRequest{Term: "xterm", Modes: "\x35\x00"}},
		{"window-change", sizeRequest{Rows: 1 << 16}},
		{"signal", stringRequest{"TERM"}}, // nothing runs
		{"signal", stringRequest{"NONSENSE"}},
		{"env", struct{ Short bool }{}},
		{"auth-agent-req", struct{ Short bool }{}},
	} {
		if ok, err := x.SendRequest(test.kind, true, ssh.Marshal(test.payload)); ok || err != nil {
			t.Errorf("%s %v: %v, %v", test.kind, test.payload, ok, err)
		}
	}
	if err := x.Start("exec sleep 1000"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"exec", "shell", "env", "pty-req"} {
		if ok, err := x.SendRequest(kind, true, ssh.Marshal(stringRequest{"true"})); ok || err != nil {
			t.Errorf("a second %s: %v, %v", kind, ok, err)
		}
	}
	if _, _, err := c.OpenChannel("x11", nil); err == nil {
		t.Error("a channel of any type is opened")
	}
}

func TestSSHProgramsAreBounded(t *testing.T) {
	s := serveTestSSH(t)
	s.agent.execs = make(chan struct{}, 1)
	c := s.client(t)
	first := newSession(t, c)
	out := &watched{changed: make(chan struct{}, 1)}
	first.Stdout = out
	if err := first.Start("echo here; exec sleep 1000"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "here\n")
	second := newSession(t, c)
	var stderr bytes.Buffer
	second.Stderr = &stderr
	if exit, ok := errors.AsType[*ssh.ExitError](second.Run("true")); !ok || exit.ExitStatus() != 126 || !strings.Contains(stderr.String(), "already") {
		t.Errorf("one too many: %v, %q", exit, stderr.String())
	}
}

func TestSFTP(t *testing.T) {
	c, err := sftp.NewClient(serveTestSSH(t).client(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path := filepath.Join(t.TempDir(), "file")
	f, err := c.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("text "), 1<<16)
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), c.Chmod(path, 0o640), c.Rename(path, path+"2")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path + "2"); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	home, err := c.Getwd()
	if err != nil || home != os.Getenv("HOME") {
		t.Errorf("begins in %q, %v", home, err)
	}
}
