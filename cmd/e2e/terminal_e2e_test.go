//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// consoleTime bounds every wait for a text on a terminal.
const consoleTime = time.Minute

// console is a person's terminal with an arcbox in the foreground.
type console struct {
	t    *testing.T
	keys *os.File // what is typed and seen
	tty  *os.File
	cmd  *exec.Cmd

	mu      sync.Mutex
	seen    []byte
	reading sync.WaitGroup
	before  unix.Termios
}

// sit types a command at a terminal of 40 rows and 100 columns.
func (b *bed) sit(args ...string) *console {
	b.t.Helper()
	c := &console{t: b.t, cmd: b.command(b.t.Context(), args...)}
	var err error
	if c.keys, c.tty, err = pty.Open(); err != nil {
		b.t.Fatal(err)
	}
	c.resize(40, 100)
	c.before = c.modes()
	c.cmd.Env = append(c.cmd.Env, "TERM=vt100")
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = c.tty, c.tty, c.tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	c.reading.Go(func() { _, _ = io.Copy(c, c.keys) }) // until both ends are closed
	return c
}

// Write takes what the terminal shows.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, b...)
	return len(b), nil
}

func (c *console) modes() unix.Termios {
	c.t.Helper()
	m, err := unix.IoctlGetTermios(int(c.tty.Fd()), unix.TCGETS)
	if err != nil {
		c.t.Fatal(err)
	}
	return *m
}

func (c *console) resize(rows, columns uint16) {
	c.t.Helper()
	if err := pty.Setsize(c.keys, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		c.t.Fatal(err)
	}
}

// enter types keys.
func (c *console) enter(keys string) {
	c.t.Helper()
	if _, err := c.keys.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// await waits for a text, and takes all up to it from what was seen.
func (c *console) await(text string) {
	c.t.Helper()
	for until := time.Now().Add(consoleTime); ; {
		c.mu.Lock()
		_, rest, found := bytes.Cut(c.seen, []byte(text))
		if found {
			c.seen = rest
		}
		seen := string(c.seen)
		c.mu.Unlock()
		if found {
			return
		}
		if time.Now().After(until) {
			_ = c.cmd.Process.Kill()
			c.t.Fatalf("not seen within %s: %q; seen: %q", consoleTime, text, seen)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// end waits for arcbox to go, and checks that the terminal is as it was.
func (c *console) end(want int) {
	c.t.Helper()
	overdue := time.AfterFunc(consoleTime, func() { _ = c.cmd.Process.Kill() })
	defer overdue.Stop()
	_ = c.cmd.Wait() // its code is what counts
	if code := c.cmd.ProcessState.ExitCode(); code != want {
		c.t.Errorf("arcbox %v: exit %d, want %d; seen: %q", c.cmd.Args[1:], code, want, c.seen)
	}
	if c.modes() != c.before {
		c.t.Errorf("arcbox %v left the terminal in other modes", c.cmd.Args[1:])
	}
	c.tty.Close()
	c.reading.Wait()
	c.keys.Close()
}

// TestShellAtATerminal: what a person types reaches the guest, and only what
// is in the foreground there; the window keeps its size; the engine may die.
func TestShellAtATerminal(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1")
	c := b.sit("shell", "a")
	c.await("a was Created: it is started\r\n")
	c.await("# ")
	c.enter("echo \"<$0 $USER $HOME $(pwd) $TERM>\"; stty size\n")
	c.await("<-sh root /root /root vt100>\r\n40 100\r\n")
	c.resize(20, 60)
	c.enter("until [ \"$(stty size)\" = '20 60' ]; do sleep 0.1; done; echo res''ized\n")
	c.await("resized")

	c.enter("sh -c 'echo run''ning; sleep 1000'\n")
	c.await("running")
	c.enter("\x03")
	c.enter("echo \"<alive $?>\"\n")
	c.await("<alive 130>")

	b.killEngine()
	c.enter("echo \"<$((6 * 7))>\"\n")
	c.await("<42>")
	c.enter("top\n")
	c.await("Mem:")
	c.enter("q")
	c.enter("exit 7\n")
	c.end(7)
}

// TestExecAtATerminal: arcbox is told to go, and goes; the guest's terminal is
// hung up behind it.
func TestExecAtATerminal(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1")
	b.ok("start", "a")
	c := b.sit("exec", "-it", "-u", "nobody", "-e", "A=b", "-w", "/tmp", "a", "--", "sh", "-c", `echo "<$(id -u) $A $PWD $(test -t 2 && tty)>"`)
	c.await("<65534 b /tmp /dev/pts/0>")
	c.end(0)
	c = b.sit("exec", "-it", "a", "--", "sh", "-c", `trap "" TERM; trap "echo hung up >/tmp/file" HUP; echo "<ready>"; while :; do sleep 0.1; done`)
	c.await("<ready>")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	c.end(128 + 15)
	b.eventually("the guest's terminal is hung up", 30*time.Second, func() bool {
		out := b.run("exec", "a", "--", "sh", "-c", "ps; cat /tmp/file") // the file comes with the signal
		return out.code == 0 && strings.HasSuffix(strings.TrimSpace(out.out), "hung up") && !strings.Contains(out.out, "<ready>")
	})
	if r := b.run("exec", "-it", "a", "--", "true"); r.code != 125 || !strings.Contains(r.err, "no terminal") {
		t.Errorf("-t without a terminal: %+v", r)
	}
	if r := b.run("shell", "a", "-u", "nobody"); r.code != 1 {
		t.Errorf("nobody's shell is false: %+v", r)
	}
	if out := b.ok("shell", "a", "--", "echo", "a  b", "$HOME"); out != "a  b $HOME" {
		t.Errorf("a shell changed the words: %q", out)
	}
}
