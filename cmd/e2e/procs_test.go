//go:build vm || e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The programs that hold a machine's lock, as the kernel names them.
const (
	vmhostProgram = "arcbox-vmhost"
	qemuProgram   = "qemu-system-x86"
)

// machineView is what list and inspect say, as far as these tests ask.
type machineView struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	State     string `json:"state"`
	Desired   string `json:"desired"`
	Health    string `json:"health"`
	HealthWhy string `json:"health_why"`
	Cause     string `json:"cause"`
	Detail    string `json:"cause_detail"`
	Tail      string `json:"console_tail"`
	Seq       uint64 `json:"seq"`
	Dir       string `json:"dir"`
	RunDir    string `json:"run_dir"`
	CID       uint32 `json:"cid"`
	Launch    string `json:"launch"`
	Host      string `json:"host_version"`
	Outdated  bool   `json:"outdated"`
	Owed      []struct {
		Duty string `json:"duty"`
	} `json:"owed"`
}

func (b *bed) list() map[string]machineView {
	b.t.Helper()
	var all []machineView
	b.into(&all, "list")
	out := map[string]machineView{}
	for _, m := range all {
		out[m.Name] = m
	}
	return out
}

func (b *bed) inspect(name string) (m machineView) {
	b.t.Helper()
	b.into(&m, "inspect", name)
	return m
}

// holder is a process of a machine's VM.
type holder struct {
	pid     int
	program string
	machine string // its id
}

// holders are the processes of this home's machines, by program and machine;
// "" = all. Nothing else tells so surely what lives: the lock goes down to
// every process of a VM.
func (b *bed) holders(program, machine string) []holder {
	b.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.t.Fatal(err)
	}
	var out []holder
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		name := strings.TrimSpace(string(comm))
		if (name != vmhostProgram && name != qemuProgram) || (program != "" && name != program) {
			continue
		}
		if id := b.holds(pid); id != "" && (machine == "" || id == machine) {
			out = append(out, holder{pid, name, id})
		}
	}
	return out
}

// holds is the machine whose lock file a process has open, or whose directory
// its command line names; "" for none.
func (b *bed) holds(pid int) string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, _ := os.ReadDir(dir)
	machines := filepath.Join(b.home, "data", "machines") + "/"
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); len(line) > 0 {
		if _, rest, ok := strings.Cut(string(line), machines); ok {
			id, _, _ := strings.Cut(rest, "/")
			return id
		}
	}
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(dir, fd.Name()))
		if rest, ok := strings.CutPrefix(to, machines); ok {
			if id, file := filepath.Split(strings.TrimSuffix(rest, " (deleted)")); file == "lock" {
				return strings.TrimSuffix(id, "/")
			}
		}
	}
	return ""
}

// signal reaches that very process, or none.
func (b *bed) signal(h holder, sig syscall.Signal) bool {
	b.t.Helper()
	p, err := os.FindProcess(h.pid) // a pidfd
	if err != nil || b.holds(h.pid) != h.machine {
		return false
	}
	err = p.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.t.Fatal(err)
	}
	return err == nil
}

// only is the one process of a program that a machine has.
func (b *bed) only(program, machine string) holder {
	b.t.Helper()
	hs := b.holders(program, machine)
	if len(hs) != 1 {
		b.t.Fatalf("machine %s has the processes %v, want one %s", machine, hs, program)
	}
	return hs[0]
}

// eventually waits for a condition, bounded.
func (b *bed) eventually(what string, limit time.Duration, ok func() bool) time.Duration {
	b.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			b.t.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(20 * time.Millisecond)
	}
	return time.Since(began)
}

// nothingLeft fails where a machine that does not run has a process, and,
// where it was removed, a directory or a socket.
func (b *bed) nothingLeft(t *testing.T, after string, m machineView, removed bool) {
	t.Helper()
	if left := b.holders("", m.ID); len(left) != 0 {
		t.Errorf("%s: processes are left: %v", after, left)
	}
	if socks, _ := filepath.Glob(filepath.Join(m.RunDir, "*.sock")); len(socks) != 0 {
		t.Errorf("%s: sockets are left: %v", after, socks)
	}
	if !removed {
		return
	}
	b.gone(after, 10*time.Second, m.Dir)
	b.gone(after, 10*time.Second, m.RunDir)
	if _, there := b.list()[m.Name]; there {
		t.Errorf("%s: it is listed", after)
	}
}
