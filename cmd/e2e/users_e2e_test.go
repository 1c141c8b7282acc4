//go:build e2e

package e2e

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user whom every host has.
const nobody = 65534

// newBedOf makes a home for another user, who brings the binaries along: the
// checkout may be out of his reach. Only root can do that.
func newBedOf(t *testing.T, uid uint32) *bed {
	t.Helper()
	b := newBed(t)
	b.bin, b.uid = filepath.Join(b.home, "bin"), uid
	if err := os.Mkdir(b.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"arcbox", "arcbox-engine", "arcbox-netd", "arcbox-vmhost"} {
		if err := copyProgram(filepath.Join(os.Getenv("ARCBOX_BIN"), name), filepath.Join(b.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(b.home, int(uid), int(uid)); err != nil {
		t.Fatal(err)
	}
	return b
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // a program
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// TestSomebodyElsesHome: a directory that one may not enter, or not write to.
// Where the test runs as root, it types as nobody.
func TestSomebodyElsesHome(t *testing.T) {
	t.Parallel()
	var b *bed
	if os.Getuid() == 0 {
		b = newBedOf(t, nobody)
	} else {
		b = newBed(t)
	}
	closed, fixed := filepath.Join(b.home, "closed"), filepath.Join(b.home, "fixed")
	for dir, mode := range map[string]os.FileMode{closed: 0, fixed: 0o555} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	secret := b.file("secret", "a kernel", 0)
	b.ok("engine", "start", "--allow-sim")
	said := b.refused(t, 2, "create", "a", "--kernel", secret)
	if has(t, "an unreadable kernel", said.Message, secret, "permission denied"); said.Field != "kernel" {
		t.Errorf("the field is %q", said.Field)
	}
	for _, home := range []string{closed, fixed} {
		for _, args := range []string{"list", "create a", "engine start"} {
			said := b.refused(t, 6, append([]string{"--home", home}, strings.Fields(args)...)...)
			has(t, home+": "+args, said.Message+"\n"+said.Hint, home, "permission denied", "set ARCBOX_HOME to a directory of your own")
		}
		if entries, err := os.ReadDir(home); home == fixed && (err != nil || len(entries) != 0) {
			t.Errorf("%s: %v, %v", home, entries, err)
		}
	}
}

// TestSeveralUsers: each user has an engine and machines of his own, and can't
// reach the other's, whatever the modes of the directories on the way are; root
// may use a running engine of another's, and never puts his own in its place.
func TestSeveralUsers(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("only root can be somebody else; the rest is in TestSomebodyElsesHome")
		return
	}
	root, user := newBed(t), newBedOf(t, nobody)
	for _, b := range []*bed{root, user} {
		b.ok("engine", "start", "--allow-sim")
		b.ok("create", "web", "--backend", "sim")
		b.ok("start", "web")
	}
	a, z := root.inspect("web"), user.inspect("web")
	if a.ID == z.ID || root.engine().PID == user.engine().PID {
		t.Errorf("they share an engine: %v, %v", a, z)
	}
	if got := last(user.journal("web"), "created").Principal; got != "uid:65534" {
		t.Errorf("the user's machine was created by %q", got)
	}

	for _, open := range []bool{false, true} { // then somebody opens every door but the last
		if open {
			opened(t, root.home)
		}
		for _, args := range []string{"list", "stop web", "engine stop", "exec web -- true", "journal"} {
			r := user.run(append([]string{"--home", root.home}, strings.Fields(args)...)...)
			if want := map[bool]int{true: 125, false: 6}[strings.HasPrefix(args, "exec")]; r.code != want || r.out != "" {
				t.Errorf("%s on root's engine, doors open: %v: exit %d, %q; want %d", args, open, r.code, r.out, want)
			}
			has(t, args+" on root's engine", r.err, root.home, map[bool]string{true: "is user 0's", false: "can't be reached by you: permission denied"}[open], "\nhint: set ARCBOX_HOME")
		}
	}
	if m := root.inspect("web"); m.State != "Running" || m.Seq != a.Seq {
		t.Errorf("root's machine was touched: %+v, before: %+v", m, a)
	}
	user.rootsWay(t)
}

// opened gives everybody everything of a home.
func opened(t *testing.T, home string) {
	t.Helper()
	for _, place := range []string{"", "run", "run/engine.sock", "run/tickets.sock", "data", "log"} {
		if err := os.Chmod(filepath.Join(home, place), 0o777); err != nil { //nolint:gosec // on purpose
			t.Fatal(err)
		}
	}
}

// rootsWay is what root can do with a user's home.
func (b *bed) rootsWay(t *testing.T) {
	t.Helper()
	asRoot := &bed{t: t, home: b.home}
	if m := asRoot.inspect("web"); m.State != "Running" {
		t.Errorf("root sees the user's machine %s", m.State)
	}
	b.ok("engine", "stop")
	r := asRoot.daemon()
	if r.code != 7 {
		t.Errorf("an engine of root's in a user's home: exit %d, want 7", r.code)
	}
	has(t, "an engine of root's", r.err, filepath.Join(b.home, "data"), "belongs to user 65534", "hint: set ARCBOX_HOME")
	if r := asRoot.run("list"); r.code != 6 || !strings.Contains(r.err, "belongs to user 65534") {
		t.Errorf("list as root, where the user's engine is down: exit %d, %s", r.code, r.err)
	}
	err := filepath.WalkDir(b.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(path, b.bin) {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != b.uid {
			t.Errorf("root left %s behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	b.ok("engine", "start", "--allow-sim")
	if m := b.inspect("web"); m.State != "Running" {
		t.Errorf("the user's machine is %s", m.State)
	}
	b.ok("exec", "web", "--", "true")
}
