//go:build vm

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// sharesView is what inspect says of a machine's shares.
type sharesView struct {
	Health    string `json:"health"`
	HealthWhy string `json:"health_why"`
	Seq       uint64 `json:"seq"`
	RunDir    string `json:"run_dir"`
	Shares    []struct {
		Guest    string `json:"guest"`
		Writable bool   `json:"writable"`
		Mounted  bool   `json:"mounted"`
		Error    string `json:"error"`
	} `json:"shares"`
}

func (b *bed) shares(name string) (v sharesView) {
	b.t.Helper()
	b.into(&v, "inspect", name)
	return v
}

// shareServers are the virtiofsd that serve a machine, first those that it is told
// to serve first, by the lock that all of a VM's processes hold.
func (b *bed) shareServers(dir string) (pids []int) {
	b.t.Helper()
	lock, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil {
		b.t.Fatal(err)
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/3")
	for _, fd := range fds {
		pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
		name, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
		if info, err := os.Stat(fd); err == nil && os.SameFile(info, lock) && strings.TrimSpace(string(name)) == "virtiofsd" {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// TestShares: a guest reads a directory of the host and can't write to it, whatever
// it does; writes to another, whose files are the engine's user's; follows no link
// out of either; and has both when the engine is killed. A server that dies costs its
// share only, and nobody waits for it for ever.
func TestShares(t *testing.T) {
	b := newBed(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	src, out, secret := filepath.Join(dir, "src"), filepath.Join(dir, "out"), filepath.Join(dir, "secret")
	for _, d := range []string{src, out} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{filepath.Join(src, "f"): "hello", secret: "secret"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(src, "up")); err != nil {
		t.Fatal(err)
	}
	b.ok("up", "a", "--memory", "256", "--cpus", "1", "--network", "none", "-v", src+":/src", "-v", out+":/mnt/out:rw")
	v := b.shares("a")
	if len(v.Shares) != 2 || !v.Shares[0].Mounted || !v.Shares[1].Mounted || v.Shares[0].Writable || v.Health != "ok" {
		t.Fatalf("%+v", v)
	}
	in := func(script string) result { return b.run("exec", "a", "--", "sh", "-c", script) }
	if r := in("cat /src/f && echo hi >/mnt/out/f && grep virtiofs /proc/mounts"); r.code != 0 || !strings.Contains(r.out, "hello") || strings.Count(r.out, "nosuid,nodev") != 2 {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	for _, script := range []string{"echo no >/src/f", "mount -o remount,rw /src && echo no >/src/new", "cat /src/link", "cat /src/up"} {
		if r := in(script); r.code == 0 || strings.Contains(r.out, "secret") {
			t.Errorf("%s: exit %d: %s", script, r.code, r.out)
		}
	}
	if info, err := os.Stat(filepath.Join(out, "f")); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
		t.Errorf("what the guest's root wrote: %+v, %v", info, err)
	}
	b.killEngine()
	if r := in("cat /src/f && echo more >>/mnt/out/f"); r.code != 0 {
		t.Errorf("behind the kill of the engine: exit %d: %s", r.code, r.err)
	}
	b.losesOne(t, in)
	b.ok("restart", "a")
	if v := b.shares("a"); v.Health != "ok" || !v.Shares[0].Mounted || !v.Shares[1].Mounted {
		t.Errorf("after a restart: %+v", v)
	}
	b.ok("rm", "-f", "a")
}

// losesOne kills the server of one share.
func (b *bed) losesOne(t *testing.T, in func(string) result) {
	t.Helper()
	before := b.shares("a")
	var dir struct {
		Dir string `json:"dir"`
	}
	b.into(&dir, "inspect", "a")
	pids := b.shareServers(dir.Dir)
	if len(pids) < 2 {
		t.Fatalf("virtiofsd: %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.ok("wait", "a", "record=health-changed", "--since", strconv.FormatUint(before.Seq, 10), "--timeout", "1m")
	v := b.shares("a")
	lost, kept := 0, 1
	if v.Shares[lost].Mounted {
		lost, kept = kept, lost
	}
	if v.Health != "degraded" || !strings.Contains(v.HealthWhy, v.Shares[lost].Guest) || v.Shares[lost].Mounted || !v.Shares[kept].Mounted {
		t.Fatalf("%+v", v)
	}
	if r := in("ls -A " + v.Shares[lost].Guest + " && ! touch " + v.Shares[lost].Guest + "/x && ls " + v.Shares[kept].Guest + "/f"); r.code != 0 || strings.TrimSpace(r.out) != v.Shares[kept].Guest+"/f" {
		t.Errorf("beside a lost share: exit %d: %s%s", r.code, r.out, r.err)
	}
}
