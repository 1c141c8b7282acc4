//go:build e2e

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keeper is what a service manager is to an engine: it listens for it, starts
// it, and hears from it.
type keeper struct {
	b       *bed
	sockets []*os.File
	hears   *net.UnixConn
}

func newKeeper(b *bed) *keeper {
	b.t.Helper()
	k := &keeper{b: b}
	run := filepath.Join(b.home, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		b.t.Fatal(err)
	}
	for _, name := range []string{"engine.sock", "tickets.sock"} {
		path := filepath.Join(run, name)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			b.t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			b.t.Fatal(err)
		}
		_ = l.Close()
		b.t.Cleanup(func() { _ = f.Close() })
		k.sockets = append(k.sockets, f)
	}
	var err error
	k.hears, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(b.home, "notify"), Net: "unixgram"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = k.hears.Close() })
	return k
}

// start starts an engine as the manager does, and does not wait for it.
func (k *keeper) start() *running {
	k.b.t.Helper()
	engine := filepath.Join(os.Getenv("ARCBOX_BIN"), "arcbox-engine")
	r := k.b.prepared("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" --allow-sim`, engine)
	r.cmd.Env = append(r.cmd.Env, "LISTEN_FDS=2", "NOTIFY_SOCKET="+filepath.Join(k.b.home, "notify"), "WATCHDOG_USEC=100000")
	r.cmd.ExtraFiles = k.sockets
	r.launch()
	return r
}

// hear waits until the engine has told a state.
func (k *keeper) hear(state string) {
	k.b.t.Helper()
	if err := k.hears.SetReadDeadline(time.Now().Add(commandTime)); err != nil {
		k.b.t.Fatal(err)
	}
	for buf := make([]byte, 1024); ; {
		n, err := k.hears.Read(buf)
		if err != nil {
			k.b.t.Fatalf("waiting for %s: %v", state, err)
		}
		if first, _, _ := strings.Cut(string(buf[:n]), "\n"); first == state {
			return
		}
	}
}

// TestService: an engine under a service manager. Who asks while it is away is
// answered by the next one; without an engine, machines are stopped all the same
// when the host goes down.
func TestService(t *testing.T) {
	b := newBed(t)
	k := newKeeper(b)
	first := k.start()
	k.hear("READY=1")
	k.hear("WATCHDOG=1")
	for _, name := range []string{"a", "b"} {
		b.ok("create", name, "--backend", "sim", "--restart", "always")
	}
	b.ok("start", "a", "b")
	b.killEngine()
	first.wait()
	asked := b.begin("list", "--format", "json")
	second := k.start()
	if r := asked.wait(); r.code != 0 || strings.Count(r.out, `"Running"`) != 2 {
		t.Errorf("a list while the engine was away: exit %d, %s", r.code, r.out)
	}
	k.hear("READY=1")
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	k.hear("STOPPING=1")
	if r := second.wait(); r.code != 0 {
		t.Errorf("SIGTERM: exit %d", r.code)
	}
	if r := b.daemon("stop-machines", "--timeout", "20s"); r.code != 0 {
		t.Errorf("stop-machines: exit %d", r.code)
	}
	for _, f := range k.sockets {
		_ = f.Close()
	}
	for _, name := range []string{"a", "b"} {
		rs := b.journal(name) // no engine runs
		asked, end := last(rs, "stop-requested"), last(rs, "exited")
		if asked.Reason != "host-shutdown" || end.text("cause") != "stopped" {
			t.Errorf("%s: %v, asked for by %s, ended %s", name, kinds(rs), asked.Reason, end.text("cause"))
		}
	}
	b.ok("engine", "start", "--allow-sim")
	b.eventually("the next engine starts them again", commandTime, func() bool {
		list := b.list()
		return list["a"].State == "Running" && list["b"].State == "Running"
	})
}

// TestServiceAfterAnEngineByHand: as a host boots, a command may start an engine before
// the service manager has its sockets in place. That engine gives way to the
// service's, takes nothing of it along, and machines run on.
func TestServiceAfterAnEngineByHand(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start", "--allow-sim")
	b.ok("create", "a", "--backend", "sim")
	b.ok("start", "a")
	byHand, boot := b.engine().PID, b.bootID("a")
	for _, name := range []string{"engine.sock", "tickets.sock"} { // as systemd does where one is in its way
		if err := os.Remove(filepath.Join(b.home, "run", name)); err != nil {
			t.Fatal(err)
		}
	}
	k := newKeeper(b)
	service := k.start()
	k.hear("READY=1")
	if now := b.engine(); now.PID == byHand {
		t.Errorf("the engine that was started by hand, %d, still answers", byHand)
	}
	if again := b.bootID("a"); again != boot {
		t.Errorf("boot id %s, before: %s", again, boot)
	}
	other := k.start() // the service's own gives way to nobody
	if r := other.wait(); r.code != 4 || !strings.Contains(r.err, "an engine runs already") {
		t.Errorf("a second engine of the service: exit %d, %s", r.code, r.err)
	}
	if err := service.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	service.wait()
	for _, f := range k.sockets { // else nobody would start the next one
		_ = f.Close()
	}
}
