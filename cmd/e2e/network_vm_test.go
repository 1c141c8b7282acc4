//go:build vm

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNetwork: machines reach each other by name, and the host reaches what
// listens on a guest's loopback; both come back when the network process is
// killed, and what is under way does not notice when the engine is.
func TestNetwork(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1", "-p", "0:80")
	b.ok("create", "b", "--memory", "256", "--cpus", "1")
	b.ok("start", "a", "b")
	b.ok("exec", "a", "--", "sh", "-c", `
		mkdir /www && echo hello >/www/hello && head -c 33554432 /dev/zero >/www/zeros
		httpd -h /www -p 127.0.0.1:80 && httpd -h /www -p 8080`)
	a := b.network("a")
	if a.Address == "" || a.Address != a.Network.Address || len(a.Network.Ports) != 1 {
		t.Fatalf("%+v", a)
	}
	b.ok("exec", "b", "--", "ping", "-c", "1", "-W", "10", "a")
	if got := b.ok("exec", "b", "--", "wget", "-q", "-O", "-", "http://a.arcbox.internal:8080/hello"); got != "hello" {
		t.Errorf("from b: %q", got)
	}
	port := a.Network.Ports[0].Listen
	if got := fetch(port, "/hello"); got != "hello\n" {
		t.Errorf("from the host: %q", got)
	}
	b.autoPorts(t)
	b.inwards(t)
	b.killNetd(t, port)
	if got := b.ok("exec", "b", "--", "wget", "-q", "-O", "-", "http://a:8080/hello"); got != "hello" {
		t.Errorf("from b, behind the kill: %q", got)
	}
	b.setPolicy(t)
	b.killDuringTransfer(t, port)
	b.ok("restart", "a")
	if again := b.network("a"); again.Address != a.Address || again.Network.Ports[0].Listen != port {
		t.Errorf("after a restart %+v, before %+v", again, a)
	}
}

// autoPorts: what b's guest listens at is forwarded as it comes and goes, but where a
// port of the host is taken, which is said.
func (b *bed) autoPorts(t *testing.T) {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at, other := free.Addr().String(), taken.Addr().String()
	_ = free.Close()
	b.ok("set", "b", "--auto-ports")
	port, otherPort := strconv.Itoa(free.Addr().(*net.TCPAddr).Port), strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	b.ok("exec", "b", "--", "sh", "-c", "mkdir /www && echo automatic >/www/hello && httpd -h /www -p 127.0.0.1:"+port+" && httpd -h /www -p [::]:"+otherPort)
	// Nobody tells of a forward: it is asked for until it is there.
	until := func(what string, ok func(networkView) bool) {
		t.Helper()
		b.quiet = true
		defer func() { b.quiet = false }()
		begun := time.Now()
		for v := b.network("b"); !ok(v); v = b.network("b") {
			if time.Since(begun) > time.Minute {
				t.Fatalf("%s does not come: %+v", what, v.Network)
			}
		}
		t.Logf("%s after %s", what, time.Since(begun).Round(time.Millisecond))
	}
	until("the automatic forward", func(networkView) bool { return fetch(at, "/hello") == "automatic\n" })
	until("the conflict", func(v networkView) bool {
		for _, p := range v.Network.Ports {
			if p.Listen == other && p.To == otherPort && p.Automatic && strings.Contains(p.Error, "already in use: arcbox port add b 0:"+otherPort) {
				return true
			}
		}
		return false
	})
	b.ok("exec", "b", "--", "killall", "httpd")
	until("the end of both", func(v networkView) bool { return len(v.Network.Ports) == 0 })
	b.ok("set", "b", "--auto-ports=false")
}

// inwards: a socket of the guest leads to one of the host, which is reached from the
// host by way of that.
func (b *bed) inwards(t *testing.T) {
	t.Helper()
	own, out := filepath.Join(b.home, "own.sock"), filepath.Join(b.home, "out.sock")
	l, err := net.Listen("unix", own)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "from the host")
			_ = c.Close()
		}
	}()
	b.ok("port", "add", "b", own+":/run/in.sock:in", out+":/run/in.sock")
	begun, got := time.Now(), ""
	for got != "from the host" {
		if c, err := net.Dial("unix", out); err == nil {
			text, _ := io.ReadAll(c)
			got = string(text)
			_ = c.Close()
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("the host's socket says %q: %+v", got, b.network("b").Network)
		}
	}
	if mode := b.ok("exec", "b", "--", "stat", "-c", "%a %u", "/run/in.sock"); mode != "600 0" {
		t.Errorf("the guest's socket is %s", mode)
	}
	b.ok("port", "rm", "b", own, out)
}

// killNetd ends the network process as a power cut would, and waits for its
// return.
func (b *bed) killNetd(t *testing.T, forward string) {
	t.Helper()
	pid := b.netd()
	if pid == 0 {
		t.Fatal("no network process")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for fetch(forward, "/hello") != "hello\n" {
		if time.Since(killed) > time.Minute {
			t.Fatal("the forward does not come back")
		}
	}
	t.Logf("network process killed: a forward answers again after %s", time.Since(killed).Round(time.Millisecond))
	b.eventuallyWell(t, "a", "b")
	want := []string{"degraded", "ok"}
	var got []string
	for _, r := range b.journal("a") {
		if r.Kind == "health-changed" {
			health, _ := r.Fact["health"].(map[string]any)
			got = append(got, fmt.Sprint(health["level"]))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the journal tells of %v, want %v", got, want)
	}
}

// eventuallyWell waits until machines say that they are, by their records.
func (b *bed) eventuallyWell(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		for {
			seen := b.journal(name)
			if v := b.network(name); v.Health == "ok" && v.Network.Linked {
				break
			}
			b.ok("wait", name, "record=health-changed", "--timeout", "1m", "--since", strconv.FormatUint(seen[len(seen)-1].Seq, 10))
		}
	}
}

// setPolicy holds b to one policy after the other while it runs: each holds when set
// returns, also behind the death of the network process.
func (b *bed) setPolicy(t *testing.T) {
	t.Helper()
	a := b.network("a").Address
	reached := func() bool {
		return b.run("exec", "b", "--", "wget", "-q", "-O", "-", "http://"+a+":8080/hello").code == 0
	}
	for _, step := range []struct {
		policy  string
		reaches bool
	}{{"deny", false}, {a + ":8080", true}, {a + ":80", false}} {
		seen := b.journal("b")
		r := b.run("set", "b", "--egress", step.policy)
		if r.code != 0 || !strings.Contains(r.err, "egress "+step.policy+": at once") {
			t.Errorf("exit %d: %q", r.code, r.err)
		}
		if got := reached(); got != step.reaches {
			t.Errorf("egress %s: reached is %v", step.policy, got)
		}
		if !step.reaches { // the engine hears of it in a moment, and counts it then
			b.ok("wait", "b", "record=egress-denied", "--timeout", "1m", "--since", strconv.FormatUint(seen[len(seen)-1].Seq, 10))
		}
		if v := b.network("b"); v.Network.Egress != step.policy || v.Network.InForce != step.policy || v.Network.Denied == 0 {
			t.Errorf("egress %s: %+v", step.policy, v)
		}
	}
	if got := b.ok("journal", "why", "b"); !strings.Contains(got, "Egress to "+a+":8080/tcp was denied by its policy") {
		t.Errorf("why: %s", got)
	}
	if err := syscall.Kill(b.netd(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := b.run("set", "b", "--egress", "deny"); r.code != 0 { // told to nobody, or to the one that comes
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	b.eventuallyWell(t, "a", "b")
	if v := b.network("b"); reached() || v.Network.InForce != "deny" {
		t.Errorf("behind the death of the network process: %+v", v)
	}
	b.ok("set", "b", "--egress", "allow")
	if !reached() {
		t.Error("it is denied still")
	}
}

// killDuringTransfer ends the engine in the midst of a forwarded transfer.
func (b *bed) killDuringTransfer(t *testing.T, forward string) {
	t.Helper()
	r, err := (&http.Client{Timeout: time.Minute}).Get("http://" + forward + "/zeros")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if _, err := io.CopyN(io.Discard, r.Body, size/8); err != nil {
		t.Fatal(err)
	}
	b.killEngine()
	rest, err := io.Copy(io.Discard, r.Body)
	if err != nil || rest != size-size/8 {
		t.Errorf("%d bytes of %d came behind the engine's death: %v", rest, size-size/8, err)
	}
	if got := fetch(forward, "/hello"); got != "hello\n" {
		t.Errorf("without an engine: %q", got)
	}
}
