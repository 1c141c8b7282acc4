//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// complaint is an error as a program reads it.
type complaint struct {
	Exit                                int
	Code, Message, Hint, Field, Machine string
}

// refused types a command that must be refused, twice: a person and a program
// are told the same, with the next thing to do.
func (b *bed) refused(t *testing.T, code int, args ...string) complaint {
	t.Helper()
	text, r := b.run(args...), b.run(append([]string{"--format", "json"}, args...)...)
	var said struct{ Error complaint }
	if err := json.Unmarshal([]byte(r.err), &said); err != nil {
		t.Errorf("%q: %v: %s", args, err, r.err)
	}
	c := said.Error
	if text.code != code || r.code != code || c.Exit != code || c.Message == "" || c.Hint == "" || r.out+text.out != "" {
		t.Errorf("%q: exit %d and %d, printed %q, said %+v; want exit %d and the next thing to do", args, text.code, r.code, text.out+r.out, c, code)
	}
	if first, _, _ := strings.Cut(c.Message, "\n"); !strings.Contains(text.err, first) || !strings.Contains(text.err, "\nhint: ") {
		t.Errorf("%q: a person is told %q, a program %+v", args, text.err, c)
	}
	return c
}

// has fails where a text lacks a word.
func has(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q, want %q in it", what, text, w)
		}
	}
}

// file makes a file of this bed.
func (b *bed) file(name, content string, mode os.FileMode) string {
	b.t.Helper()
	path := filepath.Join(b.home, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// bare fails where the engine made something for a machine that it refused.
func (b *bed) bare(t *testing.T, what string) {
	t.Helper()
	for _, dir := range []string{filepath.Join(b.home, "data", "machines"), filepath.Join(b.home, "run", "m")} {
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: %s holds %v", what, dir, entries)
		}
	}
	if left := b.lockHolders(); len(left) != 0 {
		t.Errorf("%s: processes live: %v", what, left)
	}
}

// hostMemoryMiB is the memory of this host.
func hostMemoryMiB(t *testing.T) int {
	t.Helper()
	info, err := os.ReadFile("/proc/meminfo")
	_, rest, _ := strings.Cut(string(info), "MemTotal:")
	fields := strings.Fields(rest)
	if err != nil || len(fields) == 0 {
		t.Fatalf("no MemTotal: %v", err)
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// TestBadInput: what can't be is refused at once, by field, value and what is
// allowed, and leaves no trace.
func TestBadInput(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.quiet = true
	b.ok("create", "lower", "--memory", "128", "--cpus", "1")
	b.ok("create", "Upper", "--memory", "128", "--cpus", "1")
	seq := b.engine().Seq
	empty, words := b.file("empty", "", 0o600), b.file("a,b", "x", 0o600)
	tooMany, tooMuch := strconv.Itoa(runtime.NumCPU()+1), strconv.Itoa(hostMemoryMiB(t)+1)
	const name = "1 to 63 letters, digits and hyphens"
	for _, c := range []struct {
		args  string // in shell's fields; @ is nothing at all
		code  int
		field string
		want  []string
	}{
		{"create @", 2, "name", []string{`name ""`, name}},
		{"create ..", 2, "name", []string{`".."`, name}},
		{"create .", 2, "name", []string{`"."`, name}},
		{"create a/b", 2, "name", []string{`"a/b"`, name}},
		{"create a_b", 2, "name", []string{`"a_b"`, name}},
		{"create -- -a", 2, "name", []string{`"-a"`, name}},
		{"create a-", 2, "name", []string{`"a-"`, name}},
		{"create " + strings.Repeat("x", 64), 2, "name", []string{strings.Repeat("x", 64), name}},
		{"create lower", 4, "name", []string{`"lower"`, "already"}},
		{"create LOWER", 4, "name", []string{`"LOWER"`, `"lower"`, "without case"}},
		{"create upper", 4, "name", []string{`"upper"`, `"Upper"`, "without case"}},
		{"create new --cpus 0", 2, "cpus", []string{"0", "at least 1", fmt.Sprint(runtime.NumCPU())}},
		{"create new --cpus -3", 2, "cpus", []string{"-3", "at least 1"}},
		{"create new --cpus two", 2, "cpus", []string{"two", "whole number"}},
		{"create new --cpus " + tooMany, 2, "cpus", []string{tooMany, fmt.Sprintf("1 to %d", runtime.NumCPU())}},
		{"create new --cpus 99999999999999999999", 2, "cpus", []string{"99999999999999999999", "whole number"}},
		{"create new --memory 63", 2, "memory", []string{"63M", "64M"}},
		{"create new --memory -1", 2, "memory", []string{"-1", "MiB"}},
		{"create new --memory lots", 2, "memory", []string{"lots", "K, M, G or T"}},
		{"create new --memory " + tooMuch, 2, "memory", []string{tooMuch + "M", "64M to", "the memory of this host"}},
		{"create new --memory 8388607T", 2, "memory", []string{"8796091973632M", "64M to", "the memory of this host"}},
		{"create new --kernel /no/such/kernel", 2, "kernel", []string{"/no/such/kernel", "no such file"}},
		{"create new --kernel " + b.home, 2, "kernel", []string{b.home, "not a file"}},
		{"create new --kernel /dev/zero", 2, "kernel", []string{"/dev/zero", "not a file"}},
		{"create new --kernel " + empty, 2, "kernel", []string{empty, "empty"}},
		{"create new --kernel " + words, 2, "kernel", []string{words, "without commas"}},
		{"create new --initrd /no/such/initrd", 2, "initrd", []string{"/no/such/initrd", "no such file"}},
		{"create new --backend xen", 2, "backend", []string{`"xen"`, "qemu, vz, sim"}},
		{"create new --backend vz", 2, "backend", []string{"vz", "macOS only"}},
		{"create new --backend sim", 7, "", []string{"sim", "--allow-sim"}},
		{"create new --accel warp", 2, "accel", []string{`"warp"`, "auto, kvm, tcg"}},
		{"create new --restart maybe", 2, "restart", []string{`"maybe"`, "no, on-failure, always"}},
		{"create new --cmdline " + strings.Repeat("x", 1025), 2, "cmdline", []string{"1024"}},
		{"create new --disk 5G", 2, "disk", []string{"--disk", "--image"}},
		{"create new extra", 2, "", []string{"2 arguments, at most 1"}},
		{"start lower --timeout 0", 2, "timeout", []string{`"0"`, "at least 1ms"}},
		{"launch lower", 2, "", []string{`"launch"`}},
		{"start nobody", 3, "", []string{`"nobody"`}},
		{"rm nobody", 3, "", []string{`"nobody"`}},
		{"inspect nobody", 3, "", []string{`"nobody"`}},
		{"journal why nobody", 3, "", []string{`"nobody"`}},
	} {
		args := strings.Fields(c.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "@", "")
		}
		said := b.refused(t, c.code, args...)
		if has(t, c.args, said.Message, c.want...); said.Field != c.field {
			t.Errorf("%s: the field is %q, want %q", c.args, said.Field, c.field)
		}
	}
	if now := b.engine().Seq; now != seq {
		t.Errorf("what was refused left %d records", now-seq)
	}
	if len(b.list()) != 2 {
		t.Errorf("what was refused is listed: %v", b.list())
	}
	b.bare(t, "bad input")
}

// TestLongHome: a home whose sockets would have no room in the kernel's
// addresses is refused by all programs, before anything is made.
func TestLongHome(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	long := &bed{t: t, home: filepath.Join(b.home, strings.Repeat("x", 150-len(b.home)-1))}
	for _, args := range []string{"list", "create a", "engine start", "engine status", "journal", "journal recover"} {
		said := long.refused(t, 2, strings.Fields(args)...)
		has(t, args, said.Message, long.home+"/run", "limited to 103", "ARCBOX_HOME", "shorter")
	}
	r := long.daemon()
	if r.code != 2 {
		t.Errorf("arcbox-engine: exit %d, want 2", r.code)
	}
	has(t, "arcbox-engine", r.err, long.home+"/run", "limited to 103", "hint: ARCBOX_HOME=")
	if _, err := os.Lstat(long.home); err == nil {
		t.Errorf("%s was made", long.home)
	}
}

// TestNoEngine: there is no engine to be started, or something lies where its
// socket should be.
func TestNoEngine(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	script := b.file("script", "#!/nowhere\n", 0o700)
	for engine, why := range map[string]string{
		"/nowhere/engine": "no such file", b.file("plain", "x", 0o600): "permission denied", script: "no such file", b.home: "is a directory",
	} {
		none := &bed{t: t, home: b.home, env: []string{"ARCBOX_ENGINE=" + engine}}
		for _, args := range []string{"list", "create a", "engine start"} {
			said := none.refused(t, 6, strings.Fields(args)...)
			has(t, engine+": "+args, said.Message+"\n"+said.Hint, engine, why, "ARCBOX_ENGINE")
		}
		if r := none.run("engine", "stop"); r.code != 0 || !strings.Contains(r.err, "no engine is running") {
			t.Errorf("engine stop: exit %d, %s", r.code, r.err)
		}
	}
	in := filepath.Join(b.home, "run", "engine.sock")
	if err := os.MkdirAll(filepath.Dir(in), 0o700); err != nil {
		t.Fatal(err)
	}
	b.file("run/engine.sock", "mine", 0o600)
	b.unreachable(t, "a file in the socket's place", 1, in+" is in the way", "hint: ls -la "+filepath.Dir(in))
	if p, err := os.ReadFile(in); err != nil || string(p) != "mine" {
		t.Errorf("it was touched: %q, %v", p, err)
	}
	if err := os.Remove(in); err != nil {
		t.Fatal(err)
	}
	b.ok("list")
}
