package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/agent"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// testPatience bounds what a test waits for; nothing should take it.
const testPatience = 60 * time.Second

// realAgent serves an agent on a unix socket, and returns the way to it.
func realAgent(t testing.TB) (context.Context, Dialer) {
	t.Helper()
	token := bytes.Repeat([]byte{'t'}, wire.TokenSize)
	a, err := agent.New(agent.Options{Version: "test", Token: token, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(serving, l) }()
	t.Cleanup(func() {
		cancel()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return ctx, func(ctx context.Context) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return c, wire.SendPreface(c, token)
	}
}

func connected(t testing.TB) (context.Context, *Client) {
	t.Helper()
	ctx, dial := realAgent(t)
	c, err := Connect(ctx, dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return ctx, c
}

// sh runs a script and returns its output.
func sh(t *testing.T, ctx context.Context, c *Client, spec ExecSpec, script string) (ExecResult, string, error) {
	t.Helper()
	var out bytes.Buffer
	spec.Argv, spec.Stdout = []string{"sh", "-c", script}, &out
	r, err := c.Exec(ctx, spec)
	return r, out.String(), err
}

func TestClientCalls(t *testing.T) {
	ctx, c := connected(t)
	if c.Hello().GetVersion() != "test" {
		t.Errorf("hello: %v", c.Hello())
	}
	if p, err := c.Ping(ctx); err != nil || p.GetVersion() != "test" {
		t.Errorf("ping: %v, %v", p, err)
	}
	if info, err := c.SystemInfo(ctx); err != nil || info.GetBootId() != c.Hello().GetBootId() {
		t.Errorf("info: %v, %v", info, err)
	}
	if r, err := c.Clock(ctx, time.Time{}); err != nil || r.GetUnixNanos() == 0 || r.GetStepped() {
		t.Errorf("clock: %v, %v", r, err)
	}
	if err := c.Shutdown(ctx, 0); !errors.Is(err, ErrProtocol) {
		t.Errorf("shutdown of an agent that can't: %v", err)
	}
}

func TestAwaitReadyOfARealAgent(t *testing.T) {
	ctx, dial := realAgent(t)
	if h, err := AwaitReady(ctx, dial, Probe{}); err != nil || h.GetAgentId() == "" {
		t.Errorf("%v, %v", h, err)
	}
}

func TestExecStatus(t *testing.T) {
	ctx, c := connected(t)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		spec   ExecSpec
		want   ExecResult
		notRun bool
	}{
		{spec: ExecSpec{Argv: []string{"true"}}},
		{spec: ExecSpec{Argv: []string{"sh", "-c", "exit 7"}}, want: ExecResult{Status: 7}},
		{spec: ExecSpec{Argv: []string{"sh", "-c", "kill -9 $$"}}, want: ExecResult{Signal: 9}},
		{spec: ExecSpec{Argv: []string{"no-such-program"}}, want: ExecResult{Status: 127}, notRun: true},
		{spec: ExecSpec{Argv: []string{"/no/such/program"}}, want: ExecResult{Status: 127}, notRun: true},
		{spec: ExecSpec{Argv: []string{text}}, want: ExecResult{Status: 126}, notRun: true},
		{spec: ExecSpec{Argv: []string{"/tmp"}}, want: ExecResult{Status: 126}, notRun: true},
		{spec: ExecSpec{Argv: []string{"true"}, Dir: "/no/such/dir"}, want: ExecResult{Status: 126}, notRun: true},
		{spec: ExecSpec{Argv: []string{"sleep", "1000"}, Timeout: 50 * time.Millisecond}, want: ExecResult{Signal: 9, TimedOut: true}},
	} {
		got, err := c.Exec(ctx, test.spec)
		if got != test.want || errors.Is(err, ErrNotRun) != test.notRun || (err != nil) != test.notRun {
			t.Errorf("%v: %+v, %v", test.spec.Argv, got, err)
		}
	}
	for _, bad := range []ExecSpec{{}, {Argv: []string{"echo", "\xff"}}, {Argv: []string{"true"}, Env: map[string]string{"A": "\xff"}}, {Argv: []string{"true"}, Dir: "tmp"}, {Argv: []string{"true"}, User: "no-such-user"}} {
		if _, err := c.Exec(ctx, bad); err == nil || errors.Is(err, ErrNotRun) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestExecSurroundings(t *testing.T) {
	ctx, c := connected(t)
	spec := ExecSpec{Env: map[string]string{"A": "1 2"}, Dir: "/usr"}
	if _, out, err := sh(t, ctx, c, spec, `echo "$A|$PWD|${HOME:+home}|${PATH:+path}"`); err != nil || out != "1 2|/usr|home|path\n" {
		t.Errorf("%q, %v", out, err)
	}
	var stderr bytes.Buffer
	if _, out, err := sh(t, ctx, c, ExecSpec{Stderr: &stderr}, "echo out; echo err >&2"); err != nil || out != "out\n" || stderr.String() != "err\n" {
		t.Errorf("%q, %q, %v", out, stderr.String(), err)
	}
	// Nothing of the agent's leaks in: no connection, own session, pipes that block.
	script := `ls -l /proc/$$/fd | grep -c socket:; test $(cut -d" " -f6 /proc/$$/stat) = $$ && echo leader; grep -h flags: /proc/$$/fdinfo/[012]`
	if _, out, err := sh(t, ctx, c, ExecSpec{}, script); err != nil || !strings.HasPrefix(out, "0\nleader\n") || strings.Contains(out, "4000") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestExecAsAnotherUser(t *testing.T) {
	ctx, c := connected(t)
	r, out, err := sh(t, ctx, c, ExecSpec{User: "65534:65533"}, "id -u; id -g; id -G")
	if os.Geteuid() != 0 {
		if err == nil {
			t.Errorf("an ordinary user became another: %q", out)
		}
		return
	}
	if err != nil || r.Status != 0 || out != "65534\n65533\n65533\n" {
		t.Errorf("%+v, %q, %v", r, out, err)
	}
}

// TestExecStreams sends megabytes both ways at once.
func TestExecStreams(t *testing.T) {
	ctx, c := connected(t)
	data := make([]byte, 4<<20+12345)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	sum := sha256.New()
	r, err := c.Exec(ctx, ExecSpec{Argv: []string{"cat"}, Stdin: bytes.NewReader(data), Stdout: sum})
	if want := sha256.Sum256(data); err != nil || r.Status != 0 || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%+v, %v: other bytes came back", r, err)
	}
}

// TestExecOfAProgramThatReadsLittle must neither hang nor fail: the rest of
// stdin is dropped.
func TestExecOfAProgramThatReadsLittle(t *testing.T) {
	ctx, c := connected(t)
	r, out, err := sh(t, ctx, c, ExecSpec{Stdin: bytes.NewReader(make([]byte, 2<<20))}, "head -c 3 | wc -c; exec <&-; echo end")
	if err != nil || r.Status != 0 || strings.Join(strings.Fields(out), " ") != "3 end" {
		t.Errorf("%+v, %q, %v", r, out, err)
	}
}

// lines tells of each write.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// TestSignalPassesStuckStdin: a program reads nothing, stdin fills every
// buffer, and a signal gets through all the same, to the whole group.
func TestSignalPassesStuckStdin(t *testing.T) {
	ctx, c := connected(t)
	out, signals := make(lines, 8), make(chan os.Signal, 1)
	go func() {
		<-out
		signals <- syscall.SIGTERM
	}()
	r, err := c.Exec(ctx, ExecSpec{
		Argv:   []string{"sh", "-c", "sleep 1000 & echo ready; wait"},
		Stdin:  bytes.NewReader(make([]byte, 8<<20)),
		Stdout: out, Signals: signals,
	})
	if err != nil || r.Signal != int(unix.SIGTERM) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestSlowReaderLosesNothing has a program that ends long before its output
// is taken.
func TestSlowReaderLosesNothing(t *testing.T) {
	ctx, c := connected(t)
	const size = 3 << 20
	r, w := io.Pipe()
	got := make(chan int64, 1)
	go func() {
		n := int64(0)
		buf := make([]byte, 100_000)
		for {
			m, err := r.Read(buf)
			n += int64(m)
			if err != nil {
				got <- n
				return
			}
		}
	}()
	res, err := c.Exec(ctx, ExecSpec{Argv: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: w})
	w.Close()
	if n := <-got; err != nil || res.Status != 0 || n != size {
		t.Errorf("%+v, %v, %d bytes of %d", res, err, n, size)
	}
}

// TestBackgroundChildDoesNotHold: it keeps stdout open and lives on; what was
// written before is there.
func TestBackgroundChildDoesNotHold(t *testing.T) {
	ctx, c := connected(t)
	r, out, err := sh(t, ctx, c, ExecSpec{}, `setsid sleep 1000 & echo $!`)
	if err != nil || r.Status != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	var pid int
	if _, err := fmt.Sscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the child is gone: %v", err)
	}
}

// gone waits until a process is no more, or a zombie that somebody else owes.
func gone(t *testing.T, ctx context.Context, pid int) {
	t.Helper()
	for ctx.Err() == nil {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
	}
	t.Errorf("process %d lives on", pid)
}

// TestClientGone has the group killed, children that the program waits for
// included, by each way of going.
func TestClientGone(t *testing.T) {
	for name, leave := range map[string]func(c *Client, cancel context.CancelFunc){
		"context": func(_ *Client, cancel context.CancelFunc) { cancel() },
		"close":   func(c *Client, _ context.CancelFunc) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, c := connected(t)
			out := make(lines, 8)
			execCtx, cancel := context.WithCancel(ctx)
			defer cancel()
			failed := make(chan error, 1)
			go func() {
				_, err := c.Exec(execCtx, ExecSpec{Argv: []string{"sh", "-c", "sleep 1000 & echo $$ $!; wait"}, Stdout: out})
				failed <- err
			}()
			var shell, child int
			if _, err := fmt.Sscan(<-out, &shell, &child); err != nil {
				t.Fatal(err)
			}
			leave(c, cancel)
			if err := <-failed; err == nil {
				t.Error("exec without an end succeeded")
			}
			gone(t, ctx, shell)
			gone(t, ctx, child)
		})
	}
}

func TestStreamErrorsEndTheExec(t *testing.T) {
	ctx, c := connected(t)
	broken := errors.New("broken pipe of the caller")
	r, w := io.Pipe()
	r.CloseWithError(broken)
	if _, err := c.Exec(ctx, ExecSpec{Argv: []string{"yes"}, Stdout: w}); !errors.Is(err, broken) {
		t.Errorf("stdout: %v", err)
	}
	r, w = io.Pipe()
	w.CloseWithError(broken)
	if _, err := c.Exec(ctx, ExecSpec{Argv: []string{"cat"}, Stdin: r}); !errors.Is(err, broken) {
		t.Errorf("stdin: %v", err)
	}
}

func TestManyExecsAtOnce(t *testing.T) {
	ctx, c := connected(t)
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			r, out, err := sh(t, ctx, c, ExecSpec{Stdin: strings.NewReader(fmt.Sprint(i))}, fmt.Sprintf("cat; exit %d", i))
			if err != nil || r.Status != i || out != fmt.Sprint(i) {
				t.Errorf("%d: %+v, %q, %v", i, r, out, err)
			}
		})
	}
	all.Wait()
}
