package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTail(t *testing.T) {
	p := Place{Dir: t.TempDir()}
	if got, err := Tail(p, api.ConsoleFile, 100); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	write(t, p.Dir, api.ConsoleFile+".1", "one\ntwo\nthr")
	write(t, p.Dir, api.ConsoleFile, "ee\r\nfo\x1b[31mur\xff\u202e\u009b\tend")
	const rest = "fo^[[31mur\\xff\\u202e\\u009b\tend"
	for limit, want := range map[int64]string{
		1000: "one\ntwo\nthree\n" + rest,
		19:   rest, 25: rest, 26: "three\n" + rest, 29: "three\n" + rest,
		30: "two\nthree\n" + rest, 3: "end", 0: "", -1: "",
	} {
		if got, err := Tail(p, api.ConsoleFile, limit); got != want || err != nil {
			t.Errorf("%d: %q, %v, want %q", limit, got, err, want)
		}
	}
	if _, err := Tail(p, api.TokenFile, 10); err == nil {
		t.Error("the token was read")
	}
	if err := os.Remove(filepath.Join(p.Dir, api.ConsoleFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(p.Dir, api.ConsoleFile)); err != nil {
		t.Fatal(err)
	}
	if got, err := Tail(p, api.ConsoleFile, 10); err == nil {
		t.Errorf("a symlink was followed: %q", got)
	}
}

func TestReadNote(t *testing.T) {
	p := Place{Dir: t.TempDir()}
	if n, err := ReadNote(p); n != nil || err != nil {
		t.Errorf("no note: %v, %v", n, err)
	}
	good := `{"version":1,"machine":"m","launch":"l","cause":"killed","status":-1,"time":"2026-11-24T00:00:00Z"}`
	write(t, p.Dir, api.NoteFile, good)
	if n, err := ReadNote(p); err != nil || n.Launch != "l" {
		t.Errorf("%+v, %v", n, err)
	}
	for _, bad := range []string{
		"", "{}", good + good, strings.Replace(good, "killed", "tired", 1), strings.Replace(good, `"version":1`, `"version":2`, 1),
		strings.Replace(good, `"l"`, `""`, 1), good + strings.Repeat(" ", api.MaxNote),
	} {
		write(t, p.Dir, api.NoteFile, bad)
		if n, err := ReadNote(p); err == nil {
			t.Errorf("%.50q was taken: %+v", bad, n)
		}
	}
}

func TestTakeLock(t *testing.T) {
	p := Place{Dir: t.TempDir()}
	first, err := TakeLock(t.Context(), p)
	if err != nil || !first.Held() {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := TakeLock(t.Context(), p); !errors.Is(err, ErrHeld) || time.Since(begun) < lockTime {
		t.Errorf("held: %v after %s", err, time.Since(begun))
	}
	released := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() { released <- first.Close() })
	second, err := TakeLock(t.Context(), p) // it frees while it is being tried
	if err != nil || <-released != nil {
		t.Fatal(err)
	}
	if first.Held() || first.Close() != nil {
		t.Error("a lock that was closed is held, or can't be closed again")
	}
	// A lock file that was replaced is another file: its lock can be had.
	if err := os.Remove(p.lockPath()); err != nil {
		t.Fatal(err)
	}
	third, err := TakeLock(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := flock(second.f, p.lockPath()); same || err != nil {
		t.Errorf("the lock of a file that was replaced counts: %v", err)
	}
	_, _ = second.Close(), third.Close()
	if _, err := TakeLock(t.Context(), Place{Dir: filepath.Join(p.Dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := errors.Join(os.Remove(p.lockPath()), os.Symlink("/dev/null", p.lockPath())); err != nil {
		t.Fatal(err)
	}
	if _, err := TakeLock(t.Context(), p); err == nil {
		t.Error("a symlink was locked")
	}
}

// TestLockSweeps: whoever gets the lock removes the sockets that a killed VM
// host left, and nothing else.
func TestLockSweeps(t *testing.T) {
	p := Place{Dir: t.TempDir(), RunDir: t.TempDir()}
	stale := filepath.Join(p.RunDir, api.HostSocket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	write(t, p.RunDir, api.VsockSocket, "no socket")
	held, err := TakeLock(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	if _, err := os.Lstat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale socket is there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(p.RunDir, api.VsockSocket)); err != nil {
		t.Errorf("a file that is no socket: %v", err)
	}
}

// listening is a place whose VM host the test plays.
func listening(t *testing.T) (Place, net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmc") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, api.HostSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(l.Close(), os.RemoveAll(dir)) })
	return Place{Dir: dir, RunDir: dir}, l
}

// What a process that is no VM host answers is an error, never a hang.
func TestHostileAnswers(t *testing.T) {
	p, l := listening(t)
	for answer, want := range map[string]error{
		"":                                 ErrGone,
		"\n":                               nil,
		"{}\n":                             nil,
		"{\"ok\":true}\n":                  nil, // a hello without hello
		"{\"ok\":true,\"hello\":{}}\n":     nil,
		strings.Repeat("x", api.MaxLine+1): api.ErrTooLong,
		"{\"code\":\"gone\"}\n":            ErrGone,
		"{\"code\":\"refused\"}\n":         ErrRefused,
		"{\"code\":\"timeout\"}\n":         context.DeadlineExceeded,
	} {
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _, _ = api.ReadLine(c)
			_, _ = c.Write([]byte(answer))
			_ = c.Close()
		}()
		if _, err := Connect(p).Hello(t.Context()); err == nil || (want != nil && !errors.Is(err, want)) {
			t.Errorf("%.30q: %v, want %v", answer, err, want)
		}
	}
}

// A VM host answers a dial when the guest has: its silence is not the VM host's own.
func TestSilence(t *testing.T) {
	p, l := listening(t)
	h, late := Connect(p), errors.New("five seconds are over")
	for name, c := range map[string]struct {
		ask  func(context.Context) error
		mute bool
	}{
		"hello": {func(ctx context.Context) error { _, err := h.Hello(ctx); return err }, true},
		"dial":  {func(ctx context.Context) error { _, err := h.Dial(ctx, 1024); return err }, false},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _, _ = api.ReadLine(c)
			cancel(late)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
		err := c.ask(ctx)
		if errors.Is(err, ErrMute) != c.mute || !errors.Is(err, late) {
			t.Errorf("%s: %v", name, err)
		}
		<-gone
	}
}

// A wait that breaks off is no exit.
func TestWaitBreaks(t *testing.T) {
	p, l := listening(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _, _ = api.ReadLine(c)
		_, _ = c.Write([]byte("{\"ok\":true}\n{\"seq\":1,\"kind\":\"rebooted\",\"time\":\"2026-11-24T00:00:00Z\"}\n{\"seq\":2"))
		_ = c.Close()
	}()
	var seqs []uint64
	err := Connect(p).Wait(t.Context(), 0, func(e api.Event) { seqs = append(seqs, e.Seq) })
	if !errors.Is(err, ErrGone) || len(seqs) != 1 || seqs[0] != 1 {
		t.Errorf("%v, %v", seqs, err)
	}
}
