//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What the processes that bytes go through may need, whatever flows, in KiB.
const (
	mostOfCLI   = 56 << 10
	mostOfHost  = 40 << 10
	mostOfAgent = 48 << 10
)

// TestStreams: bytes go through exec unharmed and in any number, with little
// memory, at the pace of who reads; and past the engine.
func TestStreams(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1")
	b.ok("start", "a")
	t.Run("head", b.heads)
	t.Run("unread", b.unread)
	t.Run("there and back", b.thereAndBack)
	t.Run("copies", b.copies)
	t.Run("engine killed", b.engineless)
}

// script runs a line of the host's shell, where $ARCBOX is the command.
func (b *bed) script(t *testing.T, line string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	defer cancel()
	cmd := b.command(ctx, "version")
	cmd.Env = append(cmd.Env, "ARCBOX="+cmd.Path)
	cmd.Path, cmd.Args = "/bin/bash", []string{"bash", "-o", "pipefail", "-c", line}
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// heads: who has read enough ends who writes without end, on each side.
func (b *bed) heads(t *testing.T) {
	for line, want := range map[string]int{
		`"$ARCBOX" exec a -- yes | head -n 1`:                     128 + 13, // SIGPIPE, as any program here
		`yes | "$ARCBOX" exec a -- head -n 1`:                     128 + 13, // of the host's yes
		`"$ARCBOX" exec -n a -- sh -c 'yes | head -n 1'`:          0,
		`yes | "$ARCBOX" exec a -- cat | head -n 1`:               128 + 13,
		`yes | "$ARCBOX" exec a -- sh -c 'head -n 1; true'; true`: 0,
	} {
		if out, code := b.script(t, line); out != "y\n" || code != want {
			t.Errorf("%s: %q, exit %d, want %d", line, out, code, want)
		}
	}
	b.eventually("no yes is left in the guest", 30*time.Second, func() bool {
		return !strings.Contains(b.ok("exec", "a", "--", "ps"), "yes")
	})
}

// unread: nobody reads, so nobody writes, and nothing piles up.
func (b *bed) unread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	defer cancel()
	out := b.command(ctx, "exec", "-n", "a", "--", "cat", "/dev/zero")
	out.Stdout = w
	in := b.command(ctx, "exec", "a", "--", "sleep", "1000")
	if in.Stdin, err = os.Open("/dev/zero"); err != nil {
		t.Fatal(err)
	}
	defer in.Stdin.(*os.File).Close()
	if err := errors.Join(out.Start(), in.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []int{out.Process.Pid, in.Process.Pid} {
		last := int64(0)
		b.eventually("no byte flows any more", 30*time.Second, func() bool {
			<-time.After(500 * time.Millisecond)
			before := last
			last = flowed(t, cmd)
			return last == before && last > 128<<10
		})
		if kib := peakOf(t, fmt.Sprintf("/proc/%d/status", cmd)); kib > mostOfCLI {
			t.Errorf("arcbox took %d KiB", kib)
		}
	}
	_ = out.Process.Kill()
	_ = in.Process.Kill()
	_, _ = out.Process.Wait()
	_, _ = in.Process.Wait()
	b.littleMemory(t)
}

// flowSize is far more than what may be under way, and little enough for a
// guest without hardware virtualisation. ARCBOX_FLOW sets another.
const flowSize = 32 << 20

// thereAndBack: bytes go into the guest and come back.
func (b *bed) thereAndBack(t *testing.T) {
	size := int64(flowSize)
	if text := os.Getenv("ARCBOX_FLOW"); text != "" {
		if _, err := fmt.Sscan(text, &size); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), commandTime+time.Duration(size/1e6)*time.Second)
	defer cancel()
	cmd := b.command(ctx, "exec", "a", "--", "cat")
	sent, got := sha256.New(), &summed{Hash: sha256.New()}
	cmd.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sent)
	cmd.Stdout = got
	// Not the system's account of a child, in which its parent's size counts; and
	// while it has more to write than a pipe holds, so that it is there to be read.
	got.at, got.look = size-1<<20, func() { got.kib = peakOf(t, fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) }
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB there and back in %s", size>>20, time.Since(began).Round(time.Millisecond))
	if got.n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Errorf("%d bytes came back, or others", got.n)
	}
	if t.Logf("at most %d KiB in arcbox", got.kib); got.kib > mostOfCLI {
		t.Errorf("at most %d KiB in arcbox, want %d", got.kib, mostOfCLI)
	}
	b.littleMemory(t)
}

type summed struct {
	hash.Hash
	n, at int64
	look  func() // once at bytes have come
	kib   int64
}

func (c *summed) Write(b []byte) (int, error) {
	before := c.n
	if c.n += int64(len(b)); before < c.at && c.n >= c.at {
		c.look()
	}
	return c.Hash.Write(b)
}

// littleMemory checks the highest that VM host and agent came to.
func (b *bed) littleMemory(t *testing.T) {
	t.Helper()
	host := b.only(vmhostProgram, b.inspect("a").ID)
	kib := peakOf(t, fmt.Sprintf("/proc/%d/status", host.pid))
	agent := peak(t, b.ok("exec", "a", "--", "cat", "/proc/1/status"))
	t.Logf("at most %d KiB in the VM host, %d KiB in the agent", kib, agent)
	if kib > mostOfHost || agent > mostOfAgent {
		t.Errorf("at most %d KiB in the VM host, %d KiB in the agent; want %d and %d", kib, agent, mostOfHost, mostOfAgent)
	}
}

func peakOf(t *testing.T, path string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return peak(t, string(text))
}

// peak is a process's highest resident size, in KiB, by its /proc/…/status.
func peak(t *testing.T, status string) int64 {
	t.Helper()
	_, rest, _ := strings.Cut(status, "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil || n == 0 {
		t.Fatalf("no VmHWM in %q", status)
	}
	return n
}

// flowed is how many bytes a process has read and written.
func flowed(t *testing.T, pid int) (n int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	var read, written int64
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d", &read, &written); err != nil {
		t.Fatal(err)
	}
	return read + written
}

// engineless: the engine dies while a program reads, prints, and goes on.
func (b *bed) engineless(t *testing.T) {
	var want strings.Builder
	for i := range 100000 {
		fmt.Fprintln(&want, i+1)
	}
	want.WriteString("mid\nend\n")
	r := &running{b: b, args: []string{"exec"}}
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	r.cancel = cancel
	r.cmd = b.command(ctx, "exec", "a", "--", "sh", "-c", "seq 1 100000; cat; sleep 2; echo end; exit 5")
	stdin, keep := io.Pipe()
	begun := make(chan struct{})
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = stdin, &first{Writer: &r.out, begun: begun}, &r.err
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	b.killEngine()
	b.eventually("the engine is dead", 10*time.Second, func() bool { return b.run("--no-autostart", "engine", "status").code != 0 })
	_, _ = io.WriteString(keep, "mid\n")
	_ = keep.Close()
	b.quiet = true
	got := r.wait()
	b.quiet = false
	if got.code != 5 || got.out != want.String() || got.err != "" {
		t.Errorf("exit %d, %d bytes of %d, %q", got.code, len(got.out), want.Len(), got.err)
	}
	b.ok("engine", "start")
	b.ok("exec", "a", "--", "true")
}

// first tells of the first write.
type first struct {
	io.Writer
	begun chan struct{}
	told  bool
}

func (f *first) Write(b []byte) (int, error) {
	if !f.told {
		f.told = true
		close(f.begun)
	}
	return f.Writer.Write(b)
}
