package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/service"
)

// servant is a command line on a host with systemd, whose programs are scripted.
type servant struct {
	*bench
	dir     string            // of the user
	ran     []string          // command lines
	answers map[string]string // by command line; what is missing succeeds without a word
	fails   map[string]bool
}

// newServant has an engine that answers, or none.
func newServant(t *testing.T, e engine) *servant {
	t.Helper()
	s := &servant{bench: newBench(t, e), dir: t.TempDir(), answers: map[string]string{}, fails: map[string]bool{}}
	bin := filepath.Join(s.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, engineName)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.env = func(name string) string {
		return map[string]string{"HOME": s.dir, engineVar: path, home.Var: "/a"}[name]
	}
	s.host.booted = func() bool { return true }
	s.host.run = func(_ context.Context, name string, args ...string) (string, error) {
		line := name + " " + strings.Join(args, " ")
		s.ran = append(s.ran, line)
		if s.fails[line] {
			return s.answers[line], errors.New(line + ": exit status 1: refused")
		}
		return s.answers[line], nil
	}
	return s
}

// activeLine asks for the engine's state and that of its sockets.
const activeLine = "systemctl --user is-active arcbox-engine.service arcbox-engine.socket"

// serving is an engine of the service.
func serving() *fakeEngine {
	return answers(&wire.EngineInfo{Version: "1.2", Pid: 7, Machines: 3}, nil)
}

func (s *servant) unit(name string) string { return filepath.Join(s.dir, ".config/systemd/user", name) }

// openToOthers lets everybody write to the engine's program.
func (s *servant) openToOthers() {
	if err := os.Chmod(filepath.Join(s.dir, "bin", engineName), 0o757); err != nil { //nolint:gosec // that is what it is about
		panic(err)
	}
}

func (s *servant) changes() []string {
	return slices.DeleteFunc(slices.Clone(s.ran), func(line string) bool {
		return strings.Contains(line, " show ") || strings.Contains(line, "is-active") || strings.Contains(line, "is-enabled") || strings.Contains(line, "show-user")
	})
}

func TestInstallAsAUser(t *testing.T) {
	s := newServant(t, serving())
	s.answers[activeLine] = "active\nactive"
	if code := s.run(t, "engine", "install", "--allow-sim"); code != 0 {
		t.Fatalf("exit %d: %s", code, s.err.String())
	}
	for _, name := range []string{service.EngineUnit, service.SocketUnit, service.MachinesUnit} {
		data, err := os.ReadFile(s.unit(name))
		if err != nil || service.Ours(data) != nil {
			t.Errorf("%s: %v, %v", name, err, service.Ours(data))
		}
		if !strings.Contains(s.out.String(), "written    "+s.unit(name)) {
			t.Errorf("not told of %s: %s", name, s.out.String())
		}
	}
	data, _ := os.ReadFile(s.unit(service.EngineUnit))
	for _, want := range []string{`/bin/arcbox-engine" "--allow-sim"`, `Environment="ARCBOX_HOME=/a"`, "WantedBy=default.target"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in\n%s", want, data)
		}
	}
	if strings.Contains(string(data), "ProtectSystem") {
		t.Error("a user's manager can't harden, and keeps newuidmap from working")
	}
	if want := "engine 1.2 runs as a service, pid 7, with 3 machines"; !strings.Contains(s.out.String(), want) {
		t.Errorf("no %q in %s", want, s.out.String())
	}
	if !strings.Contains(s.err.String(), "enable-linger") {
		t.Errorf("nothing said of lingering: %s", s.err.String())
	}

	// Once more: nothing to write, nothing to stop.
	s.out.Reset()
	s.ran = nil
	if code := s.run(t, "engine", "install", "--allow-sim"); code != 0 || strings.Count(s.out.String(), "unchanged") != 3 {
		t.Errorf("again: exit %d, %s%s", code, s.out.String(), s.err.String())
	}
	if got := s.changes(); !slices.Equal(got, []string{"systemctl --user start arcbox-engine.socket arcbox-engine.service arcbox-machines.service"}) {
		t.Errorf("where all is as it should be: %q", got)
	}

	// With other flags the engine begins anew, with its sockets; the unit of the machines is not stopped.
	s.ran = nil
	s.out.Reset()
	if code := s.run(t, "engine", "install"); code != 0 || !strings.Contains(s.out.String(), "updated    "+s.unit(service.EngineUnit)) {
		t.Errorf("others: exit %d, %s%s", code, s.out.String(), s.err.String())
	}
	want := []string{
		"systemctl --user stop arcbox-engine.service arcbox-engine.socket",
		"systemctl --user enable arcbox-engine.socket arcbox-engine.service arcbox-machines.service",
		"systemctl --user start arcbox-engine.socket arcbox-engine.service arcbox-machines.service",
	}
	if got := s.changes(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Sockets that listen for an engine that was stopped, or failed, are renewed with
// the units; nobody says of an engine of the service that it was started by hand.
func TestInstallRenewsSocketsOfAnEngineThatIsAway(t *testing.T) {
	for state, byHand := range map[string]bool{"inactive\nactive": false, "failed\nactive": true} {
		s := newServant(t, serving())
		asked := false
		s.connect = func(context.Context, client.Door) (engine, error) {
			if !slices.ContainsFunc(s.ran, func(l string) bool { return strings.Contains(l, " start ") }) {
				asked = true
				return nil, client.ErrNoEngine
			}
			return serving(), nil
		}
		s.answers[activeLine] = state
		if code := s.run(t, "engine", "install"); code != 0 {
			t.Fatalf("%q: exit %d: %s", state, code, s.err.String())
		}
		if got := s.changes(); got[0] != "systemctl --user stop arcbox-engine.service arcbox-engine.socket" || asked != byHand {
			t.Errorf("%q: %q, asked for one by hand: %t", state, got, asked)
		}
	}
}

func TestInstallLeavesEditedUnitsAlone(t *testing.T) {
	s := newServant(t, serving())
	s.answers[activeLine] = "active\nactive"
	if err := os.MkdirAll(filepath.Dir(s.unit("x")), 0o755); err != nil {
		t.Fatal(err)
	}
	mine := []byte("[Service]\nExecStart=/mine\n")
	if err := errors.Join(os.WriteFile(s.unit(service.EngineUnit), mine, 0o644), os.Symlink("/dev/null", s.unit(service.SocketUnit))); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"install", "uninstall"} {
		code := s.run(t, "engine", verb)
		for _, want := range []string{service.EngineUnit, service.SocketUnit, "edited", "--force", "systemctl edit"} {
			if !strings.Contains(s.err.String(), want) {
				t.Errorf("%s: no %s in %s", verb, want, s.err.String())
			}
		}
		if data, _ := os.ReadFile(s.unit(service.EngineUnit)); code != exitUnsafe || string(data) != string(mine) || len(s.changes()) > 0 {
			t.Errorf("%s: exit %d, %q, %q", verb, code, data, s.changes())
		}
		if _, err := os.Lstat(s.unit(service.MachinesUnit)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: half of it was done: %v", verb, err)
		}
		s.err.Reset()
	}
	if code := s.run(t, "engine", "install", "--force"); code != 0 {
		t.Errorf("--force: exit %d: %s", code, s.err.String())
	}
	for _, name := range []string{service.EngineUnit, service.SocketUnit} {
		if data, err := os.ReadFile(s.unit(name)); err != nil || service.Ours(data) != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An engine that was started by hand holds the home that the service is to have.
func TestInstallMakesAnEngineByHandGiveWay(t *testing.T) {
	s := newServant(t, answers(nil, errors.New("asked to end")))
	if code := s.run(t, "engine", "install"); code != exitGeneral || !strings.Contains(s.err.String(), "gives way") || !strings.Contains(s.err.String(), "asked to end") {
		t.Errorf("exit %d: %s", code, s.err.String())
	}
	if len(s.changes()) > 0 {
		t.Errorf("and went on: %q", s.changes())
	}
}

func TestInstallRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args  string
		setup func(*servant)
		code  int
		want  []string
	}{
		"no systemd":       {"engine install", func(s *servant) { s.host.booted = func() bool { return false } }, exitConflict, []string{"not booted by systemd", "arcbox engine start", "--print"}},
		"no session":       {"engine install", func(s *servant) { s.fails["systemctl --user show --property=Version"] = true }, exitConflict, []string{"log in anew", "linger", "refused"}},
		"the host's":       {"engine install --system", func(*servant) {}, exitUnsafe, []string{"root's", "sudo arcbox engine install --system"}},
		"the host's, away": {"engine uninstall --system", func(*servant) {}, exitUnsafe, []string{"root's", "sudo arcbox engine uninstall --system"}},
		"the host's, that others can write to": {"engine install --system", func(s *servant) {
			s.host.uid = 0
			s.openToOthers()
		}, exitUnsafe, []string{"can be changed by others than root", "/usr/local/bin"}},
		"both":          {"engine install --system --user", func(*servant) {}, exitUsage, []string{"one of them"}},
		"a bad address": {"engine install --listen nowhere", func(*servant) {}, exitUsage, []string{"nowhere", "tcp://"}},
		"sudo --user": {"engine install --user", func(s *servant) {
			s.host.uid = 0
			was := s.env
			s.env = func(n string) string { return map[string]string{"SUDO_USER": "ann"}[n] + was(n) }
		}, exitUsage, []string{"ann", "sudo"}},
		"systemd says no": {"engine install", func(s *servant) {
			s.fails["systemctl --user start arcbox-engine.socket arcbox-engine.service arcbox-machines.service"] = true
		}, exitGeneral, []string{"refused", "journalctl --user -u arcbox-engine.service"}},
		"of another context": {"engine install", func(s *servant) {
			was := s.env
			s.env = func(n string) string { return map[string]string{contextVar: "lab"}[n] + was(n) }
		}, exitNotFound, []string{"lab"}},
	} {
		s := newServant(t, nil)
		c.setup(s)
		if code := s.run(t, strings.Fields(c.args)...); code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", name, code, c.code, s.err.String())
		}
		for _, want := range c.want {
			if !strings.Contains(s.err.String(), want) {
				t.Errorf("%s: no %q in %s", name, want, s.err.String())
			}
		}
	}
}

func TestRootRunsNothingOfOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "arcbox")
	if err := errors.Join(os.WriteFile(path, nil, 0o755), os.Chmod(path, 0o757)); err != nil { //nolint:gosec // that is what it is about
		t.Fatal(err)
	}
	f := understood(rootsOwn(path))
	if f.code != exitUnsafe || !strings.Contains(f.message, path) || !strings.Contains(f.hint, "/usr/local/bin") {
		t.Errorf("%+v", f)
	}
	open := filepath.Join(dir, "open")
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.Symlink("/bin/sh", filepath.Join(open, "sh")), os.Symlink("open/sh", link)); err != nil { //nolint:gosec // that is what it is about
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(open, "sh"), link} {
		if f := understood(rootsOwn(path)); f.code != exitUnsafe || !strings.Contains(f.message, dir) {
			t.Errorf("a link that others can replace: %+v", f)
		}
	}
	if err := rootsOwn("/bin/sh"); err != nil {
		t.Errorf("the host's own: %v", err)
	}
}

// A unit names programs as a link does that leads to them, and that an upgrade moves.
func TestServiceFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "1.0", engineName), filepath.Join(dir, "bin", engineName)
	if err := errors.Join(os.Mkdir(filepath.Dir(real), 0o700), os.Mkdir(filepath.Dir(link), 0o700), os.WriteFile(real, nil, 0o700), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	if got := beside(filepath.Join(dir, "bin", "arcbox"), real); got != link {
		t.Errorf("%s, want %s", got, link)
	}
	if got := beside(filepath.Join(dir, "arcbox"), real); got != real {
		t.Errorf("where none is beside it: %s, want %s", got, real)
	}
}

func TestPrintAsksNobody(t *testing.T) {
	for goos, want := range map[string][]string{
		"linux":  {"==> /etc/systemd/system/arcbox-engine.service", "ProtectSystem=full", `ExecStop="`, "--at-shutdown system"},
		"darwin": {"==> /Library/LaunchDaemons/com.arcboxlabs.arcbox-engine.plist", "<key>KeepAlive</key>", "/opt/homebrew/bin"},
	} {
		s := newServant(t, nil)
		s.host.goos = goos
		s.openToOthers() // nobody runs what is only printed
		if code := s.run(t, "engine", "install", "--system", "--print"); code != 0 || len(s.ran) > 0 {
			t.Errorf("%s: exit %d, %q: %s", goos, code, s.ran, s.err.String())
		}
		for _, w := range want {
			if !strings.Contains(s.out.String(), w) {
				t.Errorf("%s: no %q in %s", goos, w, s.out.String())
			}
		}
	}
}

func TestLaunchd(t *testing.T) {
	s := newServant(t, serving())
	s.host.goos = "darwin"
	loaded := "launchctl print gui/1000/" + service.Label
	s.fails[loaded] = true
	early := true
	s.connect = func(context.Context, client.Door) (engine, error) {
		bootstrapped := slices.ContainsFunc(s.ran, func(l string) bool { return strings.Contains(l, "bootstrap") })
		if s.fails[loaded] && !bootstrapped || early { // it begins a moment after launchd has it
			early = early && !bootstrapped
			return nil, client.ErrNoEngine
		}
		return serving(), nil
	}
	path := filepath.Join(s.dir, "Library/LaunchAgents", service.Label+".plist")
	if code := s.run(t, "engine", "install"); code != 0 {
		t.Fatalf("exit %d: %s", code, s.err.String())
	}
	want := []string{"launchctl enable gui/1000/" + service.Label, "launchctl bootstrap gui/1000 " + path}
	if got := s.ran[len(s.ran)-2:]; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	delete(s.fails, loaded)
	s.ran = nil
	if code := s.run(t, "engine", "install", "--allow-sim"); code != 0 || !slices.Contains(s.ran, "launchctl bootout gui/1000/"+service.Label) {
		t.Errorf("others: exit %d, %q: %s", code, s.ran, s.err.String())
	}
	if code := s.run(t, "engine", "uninstall"); code != 0 || s.ran[len(s.ran)-1] != "launchctl bootout gui/1000/"+service.Label {
		t.Errorf("uninstall: exit %d, %q: %s", code, s.ran, s.err.String())
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the property list: %v", err)
	}
}

func TestUninstall(t *testing.T) {
	s := newServant(t, serving())
	if code := s.run(t, "engine", "uninstall"); code != 0 || !strings.Contains(s.err.String(), "no service") || len(s.ran) > 0 {
		t.Errorf("where nothing is installed: exit %d, %q: %s", code, s.ran, s.err.String())
	}
	s.answers[activeLine] = "active\nactive"
	if code := s.run(t, "engine", "install"); code != 0 {
		t.Fatal(s.err.String())
	}
	// A person removed one of them: the rest goes all the same.
	if err := os.Remove(s.unit(service.SocketUnit)); err != nil {
		t.Fatal(err)
	}
	s.answers["systemctl --user show --property=LoadState --value "+service.SocketUnit] = "not-found"
	s.ran = nil
	if code := s.run(t, "engine", "uninstall"); code != 0 || strings.Count(s.out.String(), "removed") != 2 {
		t.Errorf("exit %d: %s%s", code, s.out.String(), s.err.String())
	}
	want := []string{"systemctl --user disable --now --no-reload arcbox-engine.service arcbox-machines.service", "systemctl --user daemon-reload"}
	if got := s.changes(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if !strings.Contains(s.err.String(), "machines run on") {
		t.Error(s.err.String())
	}
	left, err := os.ReadDir(filepath.Dir(s.unit("x")))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestStopAtShutdown(t *testing.T) {
	for _, c := range []struct {
		manager, state string
		engine         error // nil = it answers, and takes the command for a fault of its own
		replaced       bool
		asked          bool
	}{
		{"system", "running", nil, false, false},
		{"user", "degraded", nil, false, false},
		{"system", "stopping", nil, false, true},
		{"user", "stopping", client.ErrNoEngine, true, false},
		{"system", "stopping", fmt.Errorf("x: %w", client.ErrDisconnected), true, false},
		{"system", "stopping", client.ErrMute, true, false},
	} {
		var got []proto.Message
		e := &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
			if _, ok := msg.(*wire.EngineStatus); ok {
				return &wire.EngineInfo{Pid: int32(os.Getpid())}, nil //nolint:gosec // a pid
			}
			got = append(got, msg)
			return nil, errors.New("taken")
		}}
		s := newServant(t, e)
		if c.engine != nil {
			s.connect = func(context.Context, client.Door) (engine, error) { return nil, c.engine }
		}
		line := "systemctl is-system-running"
		if c.manager == "user" {
			line = "systemctl --user is-system-running"
		}
		s.answers[line], s.fails[line] = c.state, c.state != "running"
		var ran []string
		s.replace = func(path string, argv, _ []string) error { ran = append([]string{path}, argv[1:]...); return nil }
		code := s.run(t, "engine", "stop", "--machines", "--at-shutdown", c.manager, "--timeout", "40s")
		name := fmt.Sprintf("%s %s %v", c.manager, c.state, c.engine)
		if replaced := strings.HasSuffix(strings.Join(ran, " "), "/arcbox-engine stop-machines --timeout 40s"); replaced != c.replaced {
			t.Errorf("%s: exit %d, %q: %s", name, code, ran, s.err.String())
		}
		if c.asked != (len(got) == 1) {
			t.Errorf("%s: the engine was asked %v", name, got)
		}
		if c.asked {
			stop := got[0].(*wire.StopEngine)
			if !stop.GetMachines() || stop.GetReason() != hostShutdown || stop.GetTimeoutNanos() != 40e9 {
				t.Errorf("%s: %v", name, stop)
			}
		} else if code != 0 {
			t.Errorf("%s: exit %d: %s", name, code, s.err.String())
		}
	}
	for _, args := range []string{"--machines --at-shutdown host", "--at-shutdown system", "--machines --at-shutdown system --context lab"} {
		s := newServant(t, nil)
		if code := s.run(t, strings.Fields("engine stop "+args)...); code != exitUsage {
			t.Errorf("%s: exit %d: %s", args, code, s.err.String())
		}
	}
}

// What shuts down is this host, or a session of it: an engine of another host, which
// the user chose for commands, keeps its machines.
func TestShutdownLeavesOtherHostsAlone(t *testing.T) {
	s := newServant(t, nil)
	if code := s.run(t, "context", "add", "lab", "ssh://lab"); code != 0 {
		t.Fatal(s.err.String())
	}
	was := s.env
	s.env = func(n string) string { return cmp.Or(map[string]string{contextVar: "lab"}[n], was(n)) }
	s.answers["systemctl --user is-system-running"] = "stopping"
	var doors []string
	s.connect = func(_ context.Context, d client.Door) (engine, error) {
		doors = append(doors, d.String())
		return nil, client.ErrNoEngine
	}
	s.replace = func(string, []string, []string) error { return nil }
	if code := s.run(t, "engine", "stop", "--machines", "--at-shutdown", "user"); code != 0 || len(doors) != 1 || !strings.Contains(doors[0], "/a/run/engine.sock") {
		t.Errorf("exit %d: %q was asked: %s", code, doors, s.err.String())
	}
}

// doctor says how the service does.
func TestDoctorSeesTheService(t *testing.T) {
	s := newServant(t, serving())
	s.answers[activeLine] = "active\nactive"
	see := func() finding { return s.seeService(t.Context()) }
	if f := see(); f.Grade != gradeOK || !strings.Contains(f.Found, "none") {
		t.Errorf("none: %+v", f)
	}
	if code := s.run(t, "engine", "install"); code != 0 {
		t.Fatal(s.err.String())
	}
	if f := see(); f.Grade != gradeWarning || !strings.Contains(f.Remedy, "linger") {
		t.Errorf("without lingering: %+v", f)
	}
	run := s.host.run
	s.host.run = func(ctx context.Context, name string, args ...string) (string, error) {
		if name == "loginctl" {
			return "yes", nil
		}
		return run(ctx, name, args...)
	}
	if f := see(); f.Grade != gradeOK || !strings.Contains(f.Found, s.unit(service.EngineUnit)+" runs") {
		t.Errorf("well: %+v", f)
	}
	s.answers[activeLine] = "failed\nactive"
	if f := see(); f.Grade != gradeWarning || !strings.Contains(f.Found, "does not run") {
		t.Errorf("not running: %+v", f)
	}
	if err := os.Remove(filepath.Join(s.dir, "bin", engineName)); err != nil {
		t.Fatal(err)
	}
	if f := see(); f.Grade != gradeError || !strings.Contains(f.Found, "no such file") || f.Remedy != "arcbox engine install" {
		t.Errorf("its program is gone: %+v", f)
	}
}
