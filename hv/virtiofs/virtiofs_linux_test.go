package virtiofs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// TestMain is also what a VM host's binary is to a share: see [Enter].
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		_, _ = os.Stderr.WriteString(Enter(os.Args[2:]).Error() + "\n")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestArgv(t *testing.T) {
	for _, c := range []struct {
		writable, root bool
		want           string
	}{
		{false, true, "unshare --mount --propagation private -- /proc/self/fd/5 serve-share 7 ro /src /bin/v"},
		{true, false, "unshare --mount --propagation private --user --map-root-user --map-auto -- /proc/self/fd/5 serve-share 7 rw /src /bin/v"},
	} {
		if d := cmp.Diff(c.want, strings.Join(argv(c.writable, c.root, "/src", "/bin/v", "7"), " ")); d != "" {
			t.Error(d)
		}
	}
}

func TestEnterRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"x", "ro", "/", "/v"}, {"1", "ro", "/", "/v", "more"}} {
		if err := Enter(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// host is one that can share, for a test.
func host(t *testing.T) Options {
	t.Helper()
	if err := Usable(); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	return Options{RunDir: t.TempDir(), Lock: lock, Fork: os.StartProcess, Output: &strings.Builder{}}
}

// A share is served until its server is stopped; nothing is left in the run directory.
func TestServes(t *testing.T) {
	o := host(t)
	o.Share = hv.Share{Tag: "share1", Path: t.TempDir()}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("%v: %s", err, o.Output)
	}
	defer s.Socket.Close()
	if left, err := os.ReadDir(o.RunDir); err != nil || len(left) != 0 {
		t.Errorf("left in the run directory: %v, %v", left, err)
	}
	select {
	case <-s.Done():
		t.Errorf("it ended: %s: %s", s.Ended(), o.Output)
	default:
	}
	s.Stop()
	if got := s.Ended(); got != "signal: killed" {
		t.Errorf("it ended by %q", got)
	}
}

// What can't be served is refused with the reason, and nothing of it is left.
func TestServesNot(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "not a directory", link: "a symbolic link is on the way to it", link + "/ssl": "a symbolic link is on the way to it",
		filepath.Join(dir, "none"): "no such file or directory",
	} {
		o := host(t)
		o.Share = hv.Share{Tag: "share1", Path: path}
		s, err := Start(t.Context(), o)
		if err == nil {
			s.Stop()
			t.Errorf("%s was served", path)
			continue
		}
		if said := o.Output.(*strings.Builder).String(); !strings.Contains(said, want) {
			t.Errorf("%s: %v: %q, want %q", path, err, said, want)
		}
	}
}

func TestFind(t *testing.T) {
	was := programs
	t.Cleanup(func() { programs = was })
	t.Setenv("PATH", t.TempDir())
	programs = []string{filepath.Join(t.TempDir(), "none")}
	if p, err := Find(); err == nil {
		t.Errorf("found %s", p)
	} else if !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("no command in %q", err)
	}
	programs = append(programs, "/bin/true")
	if p, err := Find(); err != nil || p != "/bin/true" {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := exec.LookPath("newuidmap"); err == nil {
		t.Error("PATH is not the test's")
	}
}
