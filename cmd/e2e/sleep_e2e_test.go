//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asleep is how long every process stands still.
const asleep = 5 * time.Second

// TestHostSleeps: everything stands still for a while, as on a host that sleeps.
// The engine lives longer than its machine's VM stands, and says so meanwhile; then
// it sleeps too. Afterwards the same guest runs, nothing was started again, its clock
// is right, and what flowed through a forwarded port flows on.
func TestHostSleeps(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1", "-p", "0:80")
	b.ok("start", "a")
	b.ok("exec", "a", "--", "sh", "-c", "mkdir /www && echo hello >/www/hello && head -c 33554432 /dev/zero >/www/zeros && httpd -h /www -p 127.0.0.1:80")
	bootID := b.ok("exec", "a", "--", "cat", "/proc/sys/kernel/random/boot_id")
	forward := b.network("a").Network.Ports[0].Listen
	before, engine, netd := b.inspect("a"), b.engine().PID, b.netd()
	under, err := (&http.Client{Timeout: 2 * time.Minute}).Get("http://" + forward + "/zeros")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = under.Body.Close() }()
	var pids []int
	for _, h := range b.holders("", before.ID) {
		pids = append(pids, h.pid)
	}
	pids = append(pids, netd)
	all := func(sig syscall.Signal, pids ...int) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Errorf("signal %d to %d: %v", sig, pid, err)
			}
		}
	}
	defer all(syscall.SIGCONT, append(pids, engine)...) // also where a check below ended the test
	all(syscall.SIGSTOP, pids...)
	b.eventually("the engine says that it does not answer", time.Minute, func() bool {
		m := b.inspect("a")
		return m.State == "Running" && m.Health != "ok" && m.HealthWhy != ""
	})
	all(syscall.SIGSTOP, engine)
	<-time.After(asleep)
	all(syscall.SIGCONT, append(pids, engine)...)
	b.eventually("all is well again", time.Minute, func() bool {
		m := b.inspect("a")
		return m.Health == "ok" && m.State == "Running"
	})
	if n, err := io.Copy(io.Discard, under.Body); err != nil || n != size {
		t.Errorf("what was under way ended after %d of %d bytes: %v", n, size, err)
	}
	if got := fetch(forward, "/hello"); got != "hello\n" {
		t.Errorf("a new connection: %q", got)
	}
	said := strings.Fields(b.ok("exec", "a", "--", "sh", "-c", "cat /proc/sys/kernel/random/boot_id; date +%s"))
	if len(said) != 2 || said[0] != bootID {
		t.Fatalf("another guest answers: %q, before %q", said, bootID)
	}
	if s, err := strconv.ParseInt(said[1], 10, 64); err != nil || time.Since(time.Unix(s, 0)).Abs() > 5*time.Second {
		t.Errorf("its clock says %q, %v", said[1], err)
	}
	if after := b.inspect("a"); after.Launch != before.Launch || b.netd() != netd || b.engine().PID != engine {
		t.Errorf("something was started again: %+v, before %+v", after, before)
	}
	for _, r := range b.journal("a") {
		if r.Seq > before.Seq && r.Kind != "health-changed" {
			t.Errorf("record %d: %s", r.Seq, r.Kind)
		}
	}
}
