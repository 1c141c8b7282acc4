//go:build vm || e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bed is one engine with a home of its own.
type bed struct {
	t     *testing.T
	home  string
	env   []string // beside the home
	quiet bool     // commands are not logged: there are thousands of them
	bin   string   // where the binaries are; "" = where ARCBOX_BIN says
	uid   uint32   // who types; 0 = who runs the test
}

// newBed makes a home, and ends everything in it when the test is over.
func newBed(t *testing.T) *bed {
	t.Helper()
	if os.Getenv("ARCBOX_BIN") == "" {
		t.Fatal("ARCBOX_BIN names no directory of binaries: run ./task test")
	}
	home, err := os.MkdirTemp("", "abx")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, home: home}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(home, "log", "engine.log"))
			t.Logf("engine's log:\n%s", log[max(0, len(log)-64<<10):])
		}
		b.run("engine", "start") // it may have been killed; its machines are adopted, and stopped
		b.run("engine", "stop", "--machines", "--timeout", "5s")
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return b
}

// result is what a command did.
type result struct {
	out, err string
	code     int
}

// commandTime bounds every command.
const commandTime = 3 * time.Minute

// command is a command line that has not been started.
func (b *bed) command(ctx context.Context, args ...string) *exec.Cmd {
	return b.program(ctx, "arcbox", args...)
}

// program is a command line of one of the binaries.
func (b *bed) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	bin := b.bin
	if bin == "" {
		bin = os.Getenv("ARCBOX_BIN")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Env = append(append(os.Environ(), "ARCBOX_HOME="+b.home), b.env...)
	if b.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: b.uid, Gid: b.uid}}
	}
	return cmd
}

// run types a command. It is bounded in time.
func (b *bed) run(args ...string) result {
	b.t.Helper()
	return b.begin(args...).wait()
}

// running is a command that was typed and may not be over.
type running struct {
	b        *bed
	args     []string
	cmd      *exec.Cmd
	cancel   context.CancelFunc
	out, err strings.Builder
}

// begin types a command and does not wait for its end.
func (b *bed) begin(args ...string) *running {
	b.t.Helper()
	return b.beginProgram("arcbox", args...)
}

// daemon runs arcbox-engine where it must refuse to serve: it ends by itself.
func (b *bed) daemon(args ...string) result {
	b.t.Helper()
	return b.beginProgram("arcbox-engine", args...).wait()
}

func (b *bed) beginProgram(name string, args ...string) *running {
	b.t.Helper()
	r := b.prepared(name, args...)
	r.launch()
	return r
}

// prepared is a command that has not been started; an absolute name is one of
// the host's.
func (b *bed) prepared(name string, args ...string) *running {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	r := &running{b: b, args: args, cmd: b.program(ctx, name, args...), cancel: cancel}
	if filepath.IsAbs(name) {
		r.cmd.Path = name
	}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	return r
}

func (r *running) launch() {
	r.b.t.Helper()
	if err := r.cmd.Start(); err != nil {
		r.cancel()
		r.b.t.Fatalf("%s: %v", r.cmd, err)
	}
}

// wait gives the end of the command. A signal that ended it is code -1.
func (r *running) wait() result {
	r.b.t.Helper()
	defer r.cancel()
	err := r.cmd.Wait()
	got := result{out: r.out.String(), err: r.err.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got.code = exit.ExitCode()
	} else if err != nil {
		r.b.t.Fatalf("arcbox %v: %v", r.args, err)
	}
	if !r.b.quiet {
		r.b.t.Logf("arcbox %s: %d\n%s%s", strings.Join(r.args, " "), got.code, got.out, got.err)
	}
	return got
}

// ok is run for commands that must succeed; it gives what they printed.
func (b *bed) ok(args ...string) string {
	b.t.Helper()
	r := b.run(args...)
	if r.code != 0 {
		b.t.Fatalf("arcbox %v: exit %d: %s", args, r.code, r.err)
	}
	return strings.TrimSpace(r.out)
}

// into reads a command's JSON.
func (b *bed) into(v any, args ...string) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(b.ok(append(args, "--format", "json")...)), v); err != nil {
		b.t.Fatalf("arcbox %v: %v", args, err)
	}
}

// engineView is what engine status says.
type engineView struct {
	PID        int    `json:"pid"`
	Version    string `json:"version"`
	Unrepaired int    `json:"unrepaired"`
	Running    int    `json:"running"`
	Seq        uint64 `json:"seq"`
}

func (b *bed) engine() engineView {
	b.t.Helper()
	var v engineView
	b.into(&v, "engine", "status")
	if v.PID < 2 {
		b.t.Fatalf("engine status shows pid %d", v.PID)
	}
	return v
}

// killEngine ends the engine as a power cut would.
func (b *bed) killEngine() {
	b.t.Helper()
	if err := syscall.Kill(b.engine().PID, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
}

// record is one line of the journal.
type record struct {
	Seq       uint64         `json:"seq"`
	Machine   string         `json:"machine"`
	Name      string         `json:"name"`
	Kind      string         `json:"kind"`
	To        string         `json:"to"`
	CID       uint32         `json:"cid"`
	Principal string         `json:"principal"`
	Reason    string         `json:"reason"`
	Launch    string         `json:"launch"`
	Fact      map[string]any `json:"fact"`
}

// text is a field of the fact, "" where it is none.
func (r record) text(field string) string {
	s, _ := r.Fact[field].(string)
	return s
}

func (b *bed) journal(machine string) []record {
	b.t.Helper()
	var out []record
	b.into(&out, "journal", "--machine", machine)
	return out
}

func kinds(rs []record) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.Kind)
	}
	return out
}

// last is the newest record of a kind; the zero record where there is none.
func last(rs []record, kind string) record {
	for i := len(rs) - 1; i >= 0; i-- {
		if rs[i].Kind == kind {
			return rs[i]
		}
	}
	return record{}
}

// bootID is the guest's own.
func (b *bed) bootID(name string) string {
	b.t.Helper()
	return b.ok("exec", name, "--", "cat", "/proc/sys/kernel/random/boot_id")
}

// gone waits until a file is gone, of which the kernel tells, bounded.
func (b *bed) gone(what string, limit time.Duration, path string) {
	b.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		b.t.Fatal(err)
	}
	changes := os.NewFile(uintptr(fd), "inotify")
	defer func() { _ = changes.Close() }()
	if err := changes.SetReadDeadline(time.Now().Add(limit)); err != nil {
		b.t.Fatal(err)
	}
	_, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF)
	for events := make([]byte, 4096); err == nil; _, err = changes.Read(events) {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	if !errors.Is(err, os.ErrNotExist) { // where its directory is not there either
		b.t.Fatalf("%s: %s is there: %v", what, path, err)
	}
}
