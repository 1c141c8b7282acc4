package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// screen is what a program prints on its terminal, to be waited for.
type screen struct {
	mu      sync.Mutex
	changed sync.Cond
	text    []byte
	over    bool
}

func newScreen(ctx context.Context) *screen {
	s := &screen{}
	s.changed.L = &s.mu
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.over = true
		s.changed.Broadcast()
	})
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, b...)
	s.changed.Broadcast()
	return len(b), nil
}

// await waits until a text is there, and takes everything up to it away.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !bytes.Contains(s.text, []byte(text)) {
		if s.over {
			t.Errorf("the terminal shows %q, want %q", s.text, text)
			return
		}
		s.changed.Wait()
	}
	_, s.text, _ = bytes.Cut(s.text, []byte(text))
}

// typist is a terminal in use.
type typist struct {
	*screen
	keys    *io.PipeWriter
	signals chan os.Signal
	resizes chan TerminalSize
	leave   context.CancelFunc
	ended   chan error
	result  ExecResult
}

// sit runs a program on a terminal.
func sit(t *testing.T, argv ...string) (context.Context, *typist) {
	t.Helper()
	ctx, c := connected(t)
	keyboard, keys := io.Pipe()
	p := &typist{screen: newScreen(ctx), keys: keys, signals: make(chan os.Signal, 1), resizes: make(chan TerminalSize, 1), ended: make(chan error, 1)}
	running, leave := context.WithCancel(ctx)
	p.leave = leave
	t.Cleanup(func() { leave(); keys.Close() })
	go func() {
		var err error
		p.result, err = c.Exec(running, ExecSpec{
			Argv: argv, Stdin: keyboard, Stdout: p, Signals: p.signals, Env: map[string]string{"PS1": "? ", "ENV": ""},
			Terminal: &Terminal{Size: TerminalSize{Rows: 30, Columns: 99}, Resizes: p.resizes},
		})
		p.ended <- err
	}()
	return ctx, p
}

func (p *typist) enter(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p.keys, text); err != nil {
		t.Fatal(err)
	}
}

func (p *typist) end(t *testing.T, want ExecResult) {
	t.Helper()
	if err := <-p.ended; err != nil || p.result != want {
		t.Errorf("ended with %+v, %v; want %+v", p.result, err, want)
	}
}

// TestTerminal: it is the controlling one of a session that the program
// leads, and it has the size that was asked for.
func TestTerminal(t *testing.T) {
	_, p := sit(t, "sh", "-c", `stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && cat </dev/tty & wait; cut -d' ' -f8 /proc/$$/stat; echo $$; exit 3`)
	p.await(t, "30 99\r\nxterm\r\n")
	p.end(t, ExecResult{Status: 3})
	got := strings.Fields(string(p.text))
	if len(got) < 2 || got[len(got)-1] != got[len(got)-2] {
		t.Errorf("foreground group and session: %q", p.text)
	}
}

func TestTerminalResize(t *testing.T) {
	_, p := sit(t, "sh", "-c", `trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done`)
	p.await(t, "ready")
	p.resizes <- TerminalSize{Rows: 11, Columns: 222}
	p.await(t, "11 222\r\n")
	p.end(t, ExecResult{})
}

// TestTerminalInterrupt: the key, and the signal, reach the program in the
// foreground, and leave the shell alone.
func TestTerminalInterrupt(t *testing.T) {
	for name, interrupt := range map[string]func(*typist){
		"key":    func(p *typist) { p.enter(t, "\x03") },
		"signal": func(p *typist) { p.signals <- os.Interrupt },
	} {
		t.Run(name, func(t *testing.T) {
			_, p := sit(t, "sh", "-i")
			p.enter(t, "sh -c 'trap \"echo hit; exit 7\" INT; echo r''eady; while :; do sleep 0.02; done'\n")
			p.await(t, "ready")
			interrupt(p)
			p.await(t, "hit")
			p.enter(t, "exit $(($? + 1))\n")
			p.end(t, ExecResult{Status: 8})
		})
	}
}

// TestTerminalEndOfInput is typed: with and without a line that was begun.
func TestTerminalEndOfInput(t *testing.T) {
	for _, text := range []string{"", "line\n", "line"} {
		_, p := sit(t, "sh", "-c", "wc -c")
		p.enter(t, text)
		p.keys.Close()
		p.await(t, fmt.Sprint(len(text)))
		p.end(t, ExecResult{})
	}
}

// TestTerminalLosesNothing: a program that ends long before its output is
// read.
func TestTerminalLosesNothing(t *testing.T) {
	ctx, c := connected(t)
	r, w := io.Pipe()
	counted := make(chan int)
	go func() {
		lines, buf := 0, make([]byte, 999)
		for {
			n, err := r.Read(buf)
			lines += bytes.Count(buf[:n], []byte("\n"))
			if err != nil {
				counted <- lines
				return
			}
		}
	}()
	res, err := c.Exec(ctx, ExecSpec{Argv: []string{"seq", "1", "100000"}, Stdout: w, Terminal: &Terminal{}})
	w.Close()
	if lines := <-counted; err != nil || res.Status != 0 || lines != 100000 {
		t.Errorf("%+v, %v, %d lines", res, err, lines)
	}
}

// TestTerminalOfABackgroundChild: it holds the terminal open, and the exec
// ends all the same.
func TestTerminalOfABackgroundChild(t *testing.T) {
	ctx, p := sit(t, "sh", "-c", `(trap '' HUP; echo $$ >/dev/null; exec sleep 1000) & echo pid $!; exit 5`)
	p.await(t, "pid ")
	p.end(t, ExecResult{Status: 5})
	var pid int
	if _, err := fmt.Sscan(string(p.text), &pid); err != nil {
		t.Fatal(err)
	}
	unix.Kill(pid, unix.SIGKILL)
	gone(t, ctx, pid)
}

// TestTerminalHangUp: the client goes, and the session is told; what does not
// listen is killed.
func TestTerminalHangUp(t *testing.T) {
	for name, script := range map[string]string{
		"told":   `trap 'echo told >"$0"; exit 0' HUP; echo pid $$; while :; do sleep 0.1; done`,
		"killed": `trap '' HUP; echo pid $$; while :; do sleep 0.02; done`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			ctx, p := sit(t, "sh", "-c", script, file)
			p.await(t, "pid ")
			p.await(t, "\r\n") // the number is what is before it
			p.leave()
			if err := <-p.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("exec: %v", err)
			}
			for ctx.Err() == nil && !noProcess(file) {
				<-time.After(time.Millisecond)
			}
			if text, err := os.ReadFile(file); (name == "told") != (string(text) == "told\n") {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

// noProcess tells whether no process has a word on its command line.
func noProcess(word string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(word)) {
			return false
		}
	}
	return true
}

// TestTerminalBelongsToTheUser, so that it can open it anew.
func TestTerminalBelongsToTheUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user's agent makes nothing but its own
	}
	ctx, c := connected(t)
	spec := ExecSpec{User: "65534:65533", Terminal: &Terminal{}}
	if r, out, err := sh(t, ctx, c, spec, `echo anew >"$(tty)"; stat -c %u "$(tty)"`); err != nil || r.Status != 0 || out != "anew\r\n65534\r\n" {
		t.Errorf("%+v, %q, %v", r, out, err)
	}
}

func TestTerminalKilledByTimeout(t *testing.T) {
	ctx, c := connected(t)
	r, _, err := sh(t, ctx, c, ExecSpec{Terminal: &Terminal{}, Timeout: 1}, "sleep 1000")
	if err != nil || !r.TimedOut || r.Signal != int(syscall.SIGKILL) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestLogin(t *testing.T) {
	ctx, c := connected(t)
	var out bytes.Buffer
	r, err := c.Exec(ctx, ExecSpec{Login: true, Stdin: strings.NewReader("echo \"$0|$HOME\"; exit 4\n"), Stdout: &out})
	name, home, _ := strings.Cut(strings.TrimSpace(out.String()), "|")
	if err != nil || r.Status != 4 || !strings.HasPrefix(name, "-") || !strings.HasSuffix(name, "sh") || !filepath.IsAbs(home) {
		t.Errorf("%+v, %q, %v", r, out.String(), err)
	}
	out.Reset()
	words := []string{"printf", "%s|", "it's", "a  b", "$HOME", `\`, "", "*"}
	if r, err := c.Exec(ctx, ExecSpec{Login: true, Argv: words, Stdout: &out}); err != nil || r.Status != 0 || out.String() != strings.Join(words[2:], "|")+"|" {
		t.Errorf("%+v, %q, %v", r, out.String(), err)
	}
	if r, err := c.Exec(ctx, ExecSpec{Login: true, Argv: []string{"no-such-program"}}); err != nil || r.Status != 127 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestOlderAgent would pass over what it does not know.
func TestOlderAgent(t *testing.T) {
	dial, _ := hostileAgent(t, &hostile{hello: &wire.HelloReply{Protocol: wire.Protocol, Version: "old"}})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, spec := range []ExecSpec{{Argv: []string{"true"}, Terminal: &Terminal{}}, {Login: true}} {
		if _, err := c.Exec(t.Context(), spec); !errors.Is(err, ErrUnable) || !strings.Contains(err.Error(), "version old") {
			t.Errorf("%+v: %v", spec, err)
		}
	}
}
