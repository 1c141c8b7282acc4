//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// guestLog is what one boot of a guest has written: a file in the guest to
// which a program appends a number, synced, again and again; and the same
// numbers over an exec that was begun when the guest had booted. Whoever
// killed what, neither may have a gap while the VM lives.
type guestLog struct {
	boot   string
	lines  int // of the file, when it was read last
	read   time.Time
	stream *stream // nil where the guest has no shell
}

// counter appends to the file in the guest; it outlives the exec that begins it.
const counter = `setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i >>/tmp/count; sync; usleep 200000; done' >/dev/null 2>&1 </dev/null &`

// question asks for the boot id, the number of lines, and of lines out of place.
const question = `cat /proc/sys/kernel/random/boot_id; awk '$1!=NR{bad++} END{print NR, bad+0}' /tmp/count`

// beginGuestLog starts both in a guest that has just booted, where it has a
// shell.
func (b *bed) beginGuestLog(name string, shell bool) (*guestLog, error) {
	boot := b.run("exec", name, "-n", "--", "cat", "/proc/sys/kernel/random/boot_id")
	g := &guestLog{boot: strings.TrimSpace(boot.out), read: time.Now()}
	if boot.code != 0 {
		return nil, fmt.Errorf("exec in a guest at rest: exit %d: %s", boot.code, boot.err)
	}
	if !shell {
		return g, nil
	}
	if begun := b.run("exec", name, "-n", "--", "sh", "-c", counter); begun.code != 0 {
		return nil, fmt.Errorf("exec in a guest at rest: exit %d: %s", begun.code, begun.err)
	}
	g.stream = b.beginStream(name)
	return g, nil
}

// over: the VM has ended, and with it the exec.
func (g *guestLog) over() error {
	if g.stream == nil {
		return nil
	}
	return g.stream.check(false)
}

// end is for the end of the test.
func (g *guestLog) end() {
	if g.stream != nil {
		g.stream.cancel()
	}
}

// look reads a log again: the guest has not booted since, and no line is lost.
func (b *bed) look(name string, g *guestLog) (boot string, err error) {
	if g.stream == nil {
		r := b.run("exec", name, "-n", "--", "cat", "/proc/sys/kernel/random/boot_id")
		return strings.TrimSpace(r.out), nil
	}
	r := b.run("exec", name, "-n", "--", "sh", "-c", question)
	fields := strings.Fields(r.out)
	if r.code != 0 || len(fields) != 3 {
		return "", fmt.Errorf("exec in a guest at rest: exit %d, %q, %s", r.code, r.out, r.err)
	}
	lines, _ := strconv.Atoi(fields[1])
	if fields[0] != g.boot {
		return fields[0], nil
	}
	idle := time.Since(g.read)
	if fields[2] != "0" || lines < g.lines || (lines == g.lines && idle > 20*time.Second) {
		return g.boot, fmt.Errorf("the guest's file had %d lines %s ago, has %d, %s of them out of place", g.lines, idle, lines, fields[2])
	}
	if lines > g.lines {
		g.lines, g.read = lines, time.Now()
	}
	return g.boot, g.stream.check(true)
}

// stream is an exec that prints numbers for as long as its VM lives.
type stream struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	lines  atomic.Int64
	wrong  atomic.Pointer[string]
	over   chan struct{} // closed when it has ended
}

func (b *bed) beginStream(name string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{cancel: cancel, over: make(chan struct{})}
	s.cmd = b.command(ctx, "exec", name, "-n", "--", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; usleep 200000; done")
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	go s.follow(out)
	return s
}

func (s *stream) follow(out io.Reader) {
	defer close(s.over)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if want := strconv.FormatInt(s.lines.Add(1), 10); lines.Text() != want {
			wrong := fmt.Sprintf("line %s of the stream is %q", want, lines.Text())
			s.wrong.CompareAndSwap(nil, &wrong)
		}
	}
	_ = s.cmd.Wait()
}

// check: nothing is lost, and the stream lives as long as its VM, no longer.
func (s *stream) check(alive bool) error {
	if w := s.wrong.Load(); w != nil {
		return fmt.Errorf("exec: %s", *w)
	}
	if alive {
		select {
		case <-s.over:
			return fmt.Errorf("the exec ended after %d lines, and its VM lives: %s", s.lines.Load(), s.cmd.ProcessState)
		default:
			return nil
		}
	}
	defer s.cancel()
	select {
	case <-s.over:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the exec goes on 30 s after the end of its VM")
	}
}
