//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestNoTokenIsSeen: a program in the guest ends with its own status, and the
// token of the launch is in no place that others can read: the kernel's
// arguments, the processes' arguments and environments, journal and logs.
func TestNoTokenIsSeen(t *testing.T) {
	b := newBed(t)
	b.ok("create", "a", "--memory", "256", "--cpus", "1")
	b.ok("start", "a")
	cmd := b.command(t.Context(), "version")
	cmd.Path = "/bin/sh"
	cmd.Args = []string{"sh", "-c", `"$ARCBOX_BIN/arcbox" exec a -- sh -c 'cat /proc/cmdline; exit 7'; echo $?`}
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || lines[len(lines)-1] != "7" || !strings.Contains(lines[0], "arcbox.name=a") {
		t.Errorf("a shell that runs exec printed %q (%v); want the kernel's arguments, then 7", out, err)
	}

	m := b.inspect("a")
	token, err := os.ReadFile(filepath.Join(m.Dir, "token"))
	if err != nil || len(token) == 0 {
		t.Fatalf("token: %d bytes, %v", len(token), err)
	}
	places := map[string][]byte{"the kernel's arguments": out}
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", filepath.Join(b.home, "log", "*")} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			places[path], _ = os.ReadFile(path) // a process may be gone
		}
	}
	for _, name := range []string{"console.log", "agent.log", "host.err", "host.out"} {
		places[name], _ = os.ReadFile(filepath.Join(m.Dir, name))
	}
	places["the journal"] = []byte(b.ok("journal", "--format", "json"))
	places["inspect"] = []byte(b.ok("inspect", "a", "--format", "json"))
	for place, text := range places {
		for _, form := range [][]byte{token, []byte(hex.EncodeToString(token)), []byte(base64.StdEncoding.EncodeToString(token))} {
			if bytes.Contains(text, form) {
				t.Errorf("the token is in %s", place)
			}
		}
	}
	if r := b.run("exec", "a", "--", "find", "/arcbox"); strings.Contains(r.out, "token") {
		t.Errorf("a program of the guest can see the token: %q", r.out)
	}
}

// TestCIDs: a CID is not computed from a count, and the guest sees the one
// that inspect shows.
func TestCIDs(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"a", "b", "c"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
	}
	b.ok("start", "a")
	b.ok("start", "b")
	b.ok("stop", "a")
	b.ok("start", "c")
	if cid := b.inspect("b").CID; cid < 3 || cid == b.inspect("c").CID {
		t.Errorf("CIDs of b and c: %d, %d", cid, b.inspect("c").CID)
	}
	for _, name := range []string{"b", "c"} {
		var info struct {
			CID uint32 `json:"cid"`
		}
		b.into(&info, "info", name)
		if info.CID != b.inspect(name).CID {
			t.Errorf("the guest %s sees CID %d, inspect shows %d", name, info.CID, b.inspect(name).CID)
		}
	}
}

// TestOneNameOneWinner: many who create one name at once.
func TestOneNameOneWinner(t *testing.T) {
	b := newBed(t)
	b.ok("engine", "start")
	const many = 50
	codes := make([]int, many)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i] = b.run("create", "web").code })
	}
	all.Wait()
	won, lost := 0, 0
	for _, c := range codes {
		switch c {
		case 0:
			won++
		case 4:
			lost++
		}
	}
	if won != 1 || lost != many-1 {
		t.Errorf("%d won, %d lost with exit 4; codes %v", won, lost, codes)
	}
	if got := kinds(b.journal("web")); len(got) != 1 || got[0] != "created" {
		t.Errorf("journal: %v", got)
	}
}
