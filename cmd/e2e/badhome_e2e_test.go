//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unreachable fails unless no engine of this home can be started: its own
// binary and the commands that would start it say why, and what to do.
func (b *bed) unreachable(t *testing.T, what string, code int, words ...string) {
	t.Helper()
	r := b.daemon()
	if r.code != code || !strings.Contains(r.err, "\nhint: ") {
		t.Errorf("%s: arcbox-engine exits %d, %s; want %d and a hint", what, r.code, r.err, code)
	}
	has(t, what+": arcbox-engine", r.err, words...)
	r = b.run("list")
	if r.code != 6 || r.out != "" {
		t.Errorf("%s: arcbox list exits %d, printed %q; want 6", what, r.code, r.out)
	}
	has(t, what+": arcbox list", r.err, words...)
	if pid := b.enginePID(); pid != 0 {
		t.Errorf("%s: an engine lives on: %d", what, pid)
	}
}

// TestSecondEngine: a home has one engine.
func TestSecondEngine(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1")
	first := b.engine()
	r := b.daemon()
	if r.code != 4 {
		t.Errorf("a second engine: exit %d, want 4", r.code)
	}
	has(t, "a second engine", r.err, "an engine runs already", filepath.Join(b.home, "data", "engine.lock"), "hint: arcbox engine status")
	if r := b.run("engine", "start"); r.code != 0 || !strings.Contains(r.err, "runs already") {
		t.Errorf("engine start: exit %d, %q; want 0 and a note", r.code, r.err)
	}
	r = b.run("journal", "recover")
	if r.code != 4 {
		t.Errorf("journal recover beside an engine: exit %d, want 4", r.code)
	}
	has(t, "journal recover", r.err, "an engine runs already", "hint: ")
	if now := b.engine(); now.PID != first.PID || now.Seq != first.Seq {
		t.Errorf("the engine was %+v, is %+v", first, now)
	}
}

// TestLockedJournal: somebody else has the journal open.
func TestLockedJournal(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1")
	b.ok("engine", "stop")
	journal := filepath.Join(b.home, "data", "journal")
	lock, err := os.OpenFile(filepath.Join(journal, "LOCK"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(lock.Fd(), unix.F_SETLK, &whole); err != nil {
		t.Fatal(err)
	}
	b.unreachable(t, "a journal that is locked", 1, "in use by another process", journal, "hint: fuser -v "+journal+"/LOCK")
	for _, args := range []string{"journal", "journal verify", "journal recover"} {
		r := b.run(strings.Fields(args)...)
		if r.code != 1 || r.out != "" {
			t.Errorf("%s: exit %d, printed %q; want 1", args, r.code, r.out)
		}
		has(t, args, r.err, "in use by another process", "hint: fuser -v "+journal+"/LOCK")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, there := b.list()["a"]; !there {
		t.Error("the journal was unlocked, and the machine is not there")
	}
}

// TestNewerJournal: an engine leaves a journal of a newer one alone.
func TestNewerJournal(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.ok("create", "a", "--memory", "128", "--cpus", "1")
	b.ok("engine", "stop")
	db := filepath.Join(b.home, "data", "journal", "db")
	markers, _ := filepath.Glob(filepath.Join(db, "marker.format-version.*"))
	if len(markers) != 1 {
		t.Fatalf("the journal's format is in %v", markers)
	}
	newer := strings.TrimSuffix(markers[0], filepath.Ext(markers[0])) + ".999"
	if err := os.Rename(markers[0], newer); err != nil {
		t.Fatal(err)
	}
	before := tree(t, db)
	b.unreachable(t, "a newer journal", 1, "written by a newer arcbox-engine", "hint: use that arcbox-engine")
	for _, args := range []string{"journal", "journal recover"} {
		r := b.run(strings.Fields(args)...)
		if r.code != 1 {
			t.Errorf("%s: exit %d, want 1", args, r.code)
		}
		has(t, args, r.err, "written by a newer arcbox-engine", "hint: ")
	}
	same(t, "engines that were refused", before, tree(t, db))
	if err := os.Rename(newer, markers[0]); err != nil {
		t.Fatal(err)
	}
	if _, there := b.list()["a"]; !there {
		t.Error("the format is the old one again, and the machine is not there")
	}
}

// tree is every file below a directory.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, who string, before, after map[string][]byte) {
	t.Helper()
	for path, was := range before {
		if is, there := after[path]; !there || !bytes.Equal(is, was) {
			t.Errorf("%s changed %s", who, path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%s made files: %d, then %d", who, len(before), len(after))
	}
}

// TestDamagedJournal: damage of every part that there is. The engine does not
// start, names the file, and journal recover, which every such error names,
// brings back what is not in the damaged part, and says what it can't.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		b.ok("create", name, "--memory", "128", "--cpus", "1")
	}
	b.ok("engine", "stop")
	b.ok("engine", "start") // what was logged is in a table now
	b.ok("engine", "stop")
	journal := filepath.Join(b.home, "data", "journal")
	whole := tree(t, journal)
	flip := func(p []byte) []byte { p[len(p)/2] ^= 0x40; return p }
	for what, c := range map[string]struct {
		file     string
		harm     func([]byte) []byte
		loses    bool
		machines int // are left: all of them stand in one block of the table
	}{
		"a byte of a table":   {"db/*.sst", flip, true, 0},
		"a table is missing":  {"db/*.sst", nil, true, 0},
		"a byte of the index": {"db/MANIFEST-*", flip, false, 5},
		"no index":            {"db/MANIFEST-*", nil, false, 5},
		"the end of the log":  {"db/*.log", func(p []byte) []byte { return p[:len(p)/2] }, true, 5},
	} {
		restore(t, journal, whole)
		harm(t, journal, c.file, c.harm)
		for args, code := range map[string]int{"journal": 1, "list": 6} {
			r := b.run(strings.Fields(args)...)
			if r.code != code || strings.Count(r.err, "\n") > 6 {
				t.Errorf("%s: %s: exit %d, want %d and a few lines: %s", what, args, r.code, code, r.err)
			}
			has(t, what+": "+args, r.err, "damaged", journal, "hint: arcbox journal recover")
		}
		r := b.run("journal", "recover")
		if r.code != 0 || strings.Contains(r.out, "\nlost ") != c.loses {
			t.Errorf("%s: recover: exit %d, %s %s; are records lost: %v", what, r.code, r.out, r.err, c.loses)
			continue
		}
		_, kept, _ := strings.Cut(r.out, "the old journal is in ")
		kept, _, _ = strings.Cut(kept, "\n")
		has(t, what+": recover", r.out, "records saved")
		if _, err := os.Stat(filepath.Join(kept, "db")); err != nil {
			t.Errorf("%s: the damaged journal is not kept: %v", what, err)
		}
		b.goesOn(t, what, c.machines, c.loses)
	}
}

// goesOn fails where a recovered journal has lost a machine without a word, or
// can't be used.
func (b *bed) goesOn(t *testing.T, what string, machines int, lost bool) {
	t.Helper()
	if listed := b.list(); len(listed) != machines {
		t.Errorf("%s: the machines after recover: %v", what, listed)
	}
	if r := b.run("journal", "verify"); !lost && r.code != 0 {
		t.Errorf("%s: verify after recover: exit %d, %s", what, r.code, r.err)
	}
	b.ok("create", "new", "--memory", "128", "--cpus", "1")
	b.ok("engine", "stop")
	if r := b.run("journal", "why", "new"); r.code != 0 || !strings.Contains(r.out, "new has been Created") {
		t.Errorf("%s: a machine created after recover: exit %d, %s", what, r.code, r.out)
	}
}

// harm changes the largest file of a kind; nil removes it.
func harm(t *testing.T, dir, pattern string, how func([]byte) []byte) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	victim, largest := "", -1
	for _, f := range files {
		if p, err := os.ReadFile(f); err == nil && len(p) > largest {
			victim, largest = f, len(p)
		}
	}
	if victim == "" {
		t.Fatalf("no %s", pattern)
	}
	if how == nil {
		if err := os.Remove(victim); err != nil {
			t.Fatal(err)
		}
		return
	}
	p, err := os.ReadFile(victim)
	if err == nil {
		err = os.WriteFile(victim, how(p), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func restore(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	err := os.RemoveAll(dir)
	for path, p := range files {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, p, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestHomeThatCantBeWritten: a file lies where a directory should be.
func TestHomeThatCantBeWritten(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"data", "run", "log", "data/journal", "data/machines", "."} {
		b := newBed(t)
		home := b.home
		if place == "." {
			b.home = b.file("file", "not a directory", 0o600)
		} else if err := os.MkdirAll(filepath.Dir(filepath.Join(home, place)), 0o700); err == nil {
			b.file(place, "not a directory", 0o600)
		}
		r := b.run("create", "a")
		if r.code != 6 || !strings.Contains(r.err, "ARCBOX_HOME") {
			t.Errorf("%s is a file: exit %d, %s; want 6 and the way on", place, r.code, r.err)
		}
		has(t, place+" is a file", r.err, "not a directory", b.home, "\nhint: ")
		if p, err := os.ReadFile(filepath.Join(home, map[bool]string{true: "file", false: place}[place == "."])); err != nil || string(p) != "not a directory" {
			t.Errorf("%s is a file, and was changed: %q, %v", place, p, err)
		}
		b.home = home
	}
}
