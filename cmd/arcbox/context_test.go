package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// contextBench has a configuration directory, and notes which door was taken.
func contextBench(t *testing.T, dir string, vars map[string]string) (*bench, *client.Door) {
	t.Helper()
	b := newBench(t, nil)
	b.env = func(name string) string {
		if name == "XDG_CONFIG_HOME" {
			return dir
		}
		if value := vars[name]; value != "" || name != "HOME" {
			return value
		}
		return "/h"
	}
	taken := new(client.Door)
	b.connect = func(_ context.Context, door client.Door) (engine, error) {
		*taken = door
		return answers(&wire.Machines{}, nil), nil
	}
	return b, taken
}

func TestContextPrecedence(t *testing.T) {
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	for _, args := range []string{"context add lab ssh://lab", "context add ci ssh://me@ci:2222/srv/a", "context use lab"} {
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Fatalf("%s: %d, %s", args, code, b.err.String())
		}
	}
	const here = "/a/run/engine.sock"
	for _, c := range []struct {
		args string
		vars map[string]string
		want string
		by   string
	}{
		{"list", nil, "ssh://lab", "context use"},
		{"list", map[string]string{home.Var: "/a"}, here, home.Var},
		{"list", map[string]string{home.Var: "/a", contextVar: "ci"}, "ssh://me@ci:2222/srv/a", contextVar},
		{"list --home /a", map[string]string{contextVar: "ci"}, here, "--home"},
		{"list --context CI", map[string]string{contextVar: "lab", home.Var: "/a"}, "ssh://me@ci:2222/srv/a", "--context"},
		{"list --context local", map[string]string{contextVar: "lab", home.Var: "/a"}, here, "--context"},
		{"list --context local --home /a", map[string]string{contextVar: "lab"}, here, "--context"},
	} {
		b, taken := contextBench(t, dir, c.vars)
		if code := b.run(t, strings.Fields(c.args)...); code != 0 || (*taken).String() != c.want {
			t.Errorf("%s, %v: exit %d, %v, want %s; %s", c.args, c.vars, code, *taken, c.want, b.err.String())
		}
		b, _ = contextBench(t, dir, c.vars)
		if code := b.run(t, append([]string{"context"}, strings.Fields(c.args)...)...); code != 0 || !strings.Contains(b.out.String(), c.by) {
			t.Errorf("context %s, %v: exit %d, %q does not say %s", c.args, c.vars, code, b.out.String(), c.by)
		}
	}
}

func TestContextRefusals(t *testing.T) {
	for _, c := range []struct {
		args, vars string
		code       int
		want       []string
	}{
		{"context add a", "", exitUsage, []string{"endpoint"}},
		{"context add a_b ssh://x", "", exitUsage, []string{`"a_b"`, "letters"}},
		{"context add local ssh://x", "", exitConflict, []string{"local"}},
		{"context add LAB ssh://x", "", exitConflict, []string{"already", "arcbox context rm LAB"}},
		{"context add a tcp://x:1", "", exitUsage, []string{"arcbox engine join"}},
		{"context add a tcp://x", "", exitUsage, []string{"tcp://HOST:PORT"}},
		{"engine start --listen 1.2.3.4:1", "", exitUsage, []string{"tcp://ADDRESS:PORT"}},
		{"engine join x", "", exitUsage, []string{"arcbox1."}},
		{"engine invite", "", exitUsage, []string{"--name"}},
		{"context add a ssh://-oProxyCommand=x", "", exitUsage, []string{"no host's name"}},
		{"context add a ssh://me:secret@x", "", exitUsage, []string{"password"}},
		{"context add a ssh://-l@x", "", exitUsage, []string{"user"}},
		{"context add a ssh://x:0", "", exitUsage, []string{"65535"}},
		{"context add a ssh://x:99999", "", exitUsage, []string{"65535"}},
		{"context add a ssh://x/a/../b", "", exitUsage, []string{"shortest form"}},
		{"context add a ssh://x/a%0Ab", "", exitUsage, []string{"directory"}},
		{"context add a ssh://x?y", "", exitUsage, []string{"ssh://"}},
		{"context add a ssh://x;reboot", "", exitUsage, []string{"ssh://"}},
		{"context add a ssh://", "", exitUsage, []string{"host"}},
		{"context use la", "", exitNotFound, []string{`"la"`, "did you mean lab"}},
		{"context rm none", "", exitNotFound, []string{"arcbox context list"}},
		{"context rm local", "", exitNotFound, []string{"local"}},
		{"list --context none", "", exitNotFound, []string{"arcbox context list"}},
		{"list --context ../x", "", exitUsage, []string{"letters"}},
		{"context list", "none", exitNotFound, []string{`"none"`}},
		{"list", "none", exitNotFound, []string{`"none"`}},
		{"list --context lab --home /a", "", exitUsage, []string{"--home and --context lab"}},
		{"image ls --context distant", "", exitConflict, []string{"files of the engine's host", "ssh far.example.org arcbox", "--context local"}},
		{"create a --image debian --context distant", "", exitConflict, []string{"files of the engine's host"}},
		{"run debian --context distant -- x", "", exitExecFault, []string{"files of the engine's host"}},
		{"image pull ./x.tar --context lab", "", exitConflict, []string{"file of this host", "arcbox --context lab image import ./x.tar x"}},
		{"create a --image ./x.tar --context lab", "", exitConflict, []string{"file of this host", "image import"}},
		{"kernel import ./x --context lab", "", exitConflict, []string{"file of this host", "ssh lab arcbox kernel import"}},
		{"kernel ls", "distant", exitConflict, []string{contextVar}},
		{"journal recover --context lab", "", exitConflict, []string{"files of the engine's host"}},
	} {
		dir := t.TempDir()
		b, _ := contextBench(t, dir, nil)
		if code := b.run(t, "context", "add", "lab", "ssh://lab"); code != 0 {
			t.Fatal(code)
		}
		if err := b.addContext(t.Context(), remoteContext{Name: "distant", Endpoint: "tcp://far.example.org:7443"}, "", false); err != nil {
			t.Fatal(err)
		}
		b, taken := contextBench(t, dir, map[string]string{contextVar: c.vars, "HOME": "/h"})
		if code := b.run(t, strings.Fields(c.args)...); code != c.code || *taken != nil {
			t.Errorf("%s: exit %d, want %d, door %v: %s", c.args, code, c.code, *taken, b.err.String())
		}
		for _, want := range c.want {
			if !strings.Contains(b.err.String(), want) {
				t.Errorf("%s: %q does not say %q", c.args, b.err.String(), want)
			}
		}
	}
}

func TestContextFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "arcbox", "contexts.json")
	b, _ := contextBench(t, dir, nil)
	for _, args := range []string{"context add b ssh://b --use", "context add a ssh://a"} {
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Fatal(args, code)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	b, _ = contextBench(t, dir, nil)
	if b.run(t, "context", "list", "-q"); b.out.String() != "local\na\nb\n" {
		t.Errorf("list: %q", b.out.String())
	}
	b, _ = contextBench(t, dir, nil)
	if b.run(t, "__complete", "context", "use", ""); !strings.HasPrefix(b.out.String(), "local\na\nb\n:") {
		t.Errorf("completion: %q", b.out.String())
	}
	b, _ = contextBench(t, dir, nil)
	if b.run(t, "__complete", "list", "--context", ""); !strings.HasPrefix(b.out.String(), "local\na\nb\n:") {
		t.Errorf("completion of the flag: %q", b.out.String())
	}
	b, _ = contextBench(t, dir, nil)
	if code := b.run(t, "context", "rm", "B"); code != 0 { // the one that is used
		t.Fatal(code)
	}
	b, taken := contextBench(t, dir, map[string]string{"HOME": "/h"})
	if code := b.run(t, "list"); code != 0 || (*taken).String() != "/h/.arcbox/run/engine.sock" {
		t.Errorf("exit %d, %v", code, *taken)
	}

	for body, want := range map[string]string{
		`{"version":2}`: "version 2", `{`: "can't be read",
		`{"version":1,"contexts":[{"name":"x","endpoint":"ssh://-x"}]}`: "no host's name",
		`{"version":1,"contexts":[{"name":"-x","endpoint":"ssh://x"}]}`: "letters",
	} {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		b, taken := contextBench(t, dir, nil)
		if code := b.run(t, "list"); code != exitGeneral || *taken != nil || !strings.Contains(b.err.String(), want) {
			t.Errorf("%s: exit %d, %s", body, code, b.err.String())
		}
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // it is what is refused
		t.Fatal(err)
	}
	b, _ = contextBench(t, dir, nil)
	if code := b.run(t, "context", "list"); code != exitUnsafe || !strings.Contains(b.err.String(), "chmod 600 "+path) {
		t.Errorf("exit %d, %s", code, b.err.String())
	}
}

// fakeSSH puts an ssh into PATH that runs its last word, as sshd does, and an
// arcbox for it to find.
func fakeSSH(t *testing.T, arcbox string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{"ssh": "for last; do :; done\nexec sh -c \"$last\"", "arcbox": arcbox} {
		if body == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil { //nolint:gosec // to be run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestSSHDoor(t *testing.T) {
	at, err := parseEndpoint("ssh://me@lab:2222/srv/it's%20$(here)")
	if err != nil {
		t.Fatal(err)
	}
	d := sshDoor{at: at, text: "ssh://lab", silent: true}
	argv := strings.Join(d.argv(), " ")
	if want := "-o BatchMode=yes -p 2222 -l me -- lab arcbox"; !strings.Contains(argv, want) {
		t.Errorf("%s does not hold %s", argv, want)
	}
	fakeSSH(t, `echo arcbox-stdio 1; printf '%s\n' "$@"; cat; echo over`)
	c, err := d.Stream(t.Context(), "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("said\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, 256)
	for err == nil {
		var n int
		n, err = c.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
	}
	want := []string{"--context", "local", "--home", "/srv/it's $(here)", "engine", "dial-stdio", "--tickets", "said", "over", ""}
	if !slices.Equal(strings.Split(string(got), "\n"), want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSSHDoorSaysWhoseFaultItIs(t *testing.T) {
	for _, c := range []struct {
		arcbox string
		want   []string
	}{
		{"", []string{"no arcbox in the PATH", "command -v arcbox"}},
		{"echo Welcome to the lab", []string{`with "Welcome to the "`, "start-up file"}},
		{"echo no way >&2; exit 255", []string{"status 255", "it said:\nno way"}},
		{"exit 6", []string{"no engine runs there"}},
		{"exit 5", []string{"status 5"}},
		{"head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1", []string{"xxx", "end"}},
	} {
		fakeSSH(t, c.arcbox)
		_, err := sshDoor{at: endpoint{host: "lab"}, text: "ssh://lab"}.Endpoint(t.Context())
		f := understood(err)
		if f.code != exitNoEngine || len(f.message) > 4096 {
			t.Errorf("%s: exit %d, %d bytes", c.arcbox, f.code, len(f.message))
		}
		for _, want := range c.want {
			if !strings.Contains(f.message+f.hint, want) {
				t.Errorf("%s: %q, %q do not say %q", c.arcbox, f.message, f.hint, want)
			}
		}
	}
}

func TestSSHDoorIsGivenUp(t *testing.T) {
	fakeSSH(t, "exec cat") // which says nothing of its own
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errMute)
	if _, err := (sshDoor{at: endpoint{host: "lab"}, text: "ssh://lab"}).Endpoint(ctx); err == nil || understood(err).code != exitNoEngine {
		t.Errorf("got %v", err)
	}
}

// TestWhoOnlyAsksStartsNoEngineElsewhere: what starts none here starts none there
// either, and what wants one does.
func TestWhoOnlyAsksStartsNoEngineElsewhere(t *testing.T) {
	for args, want := range map[string]struct {
		doors string // with or without --no-autostart, in order
		code  int
	}{
		"engine status":               {"never", exitNoEngine},
		"engine stop":                 {"never", 0},
		"engine clients":              {"never", exitNoEngine},
		"journal":                     {"never", exitNoEngine},
		"journal why web":             {"never", exitNoEngine},
		"version":                     {"never", 0},
		"__complete start ":           {"never", 0},
		"engine start":                {"never may", 0},
		"engine start --allow-sim":    {"", exitUsage},
		"list":                        {"may", 0},
		"list --no-autostart":         {"never", exitNoEngine},
		"engine start --no-autostart": {"never may", 0},
	} {
		dir := t.TempDir()
		b, _ := contextBench(t, dir, nil)
		if code := b.run(t, "context", "add", "lab", "ssh://lab", "--use"); code != 0 {
			t.Fatal(code)
		}
		b, _ = contextBench(t, dir, nil)
		var doors []string
		b.connect = func(_ context.Context, door client.Door) (engine, error) {
			d := door.(sshDoor)
			if slices.Contains(d.flags, "--no-autostart") {
				doors = append(doors, "never")
				return nil, d.failed("", exitNoEngine, "")
			}
			doors = append(doors, "may")
			return &fakeEngine{answer: world}, nil
		}
		code := b.run(t, strings.Split(args, " ")...)
		if got := strings.Join(doors, " "); code != want.code || got != want.doors {
			t.Errorf("%s: exit %d, want %d, doors %q, want %q: %s", args, code, want.code, got, want.doors, b.err.String())
		}
		if says := strings.Contains(b.err.String(), "arcbox --context lab engine start"); says != (code == exitNoEngine) {
			t.Errorf("%s: %s", args, b.err.String())
		}
	}
}

// TestPathsOfAnotherHost: what goes into a spec for an engine elsewhere is a path
// there, which is not looked up here, and not made absolute by where somebody is.
func TestPathsOfAnotherHost(t *testing.T) {
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	if code := b.run(t, "context", "add", "lab", "ssh://lab", "--use"); code != 0 {
		t.Fatal(code)
	}
	file := filepath.Join(dir, "machine.yaml")
	if err := os.WriteFile(file, []byte("block: [x.img]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args string) (*bench, *fakeEngine, int) {
		b, _ := contextBench(t, dir, nil)
		e := answers(&wire.Done{Machine: &wire.Machine{Name: "a"}}, nil)
		b.connect = func(context.Context, client.Door) (engine, error) { return e, nil }
		return b, e, b.run(t, strings.Fields(args)...)
	}
	b, e, code := run("create a -v /only/there/:/src -v /there/x:/out:rw --block /dev/there --socket /there/s:/run/s --kernel /there/k --initrd /there/i")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, b.err.String())
	}
	spec := e.got[0].(*wire.CreateMachine).GetSpec()
	got := []string{spec.GetShares()[0].GetHost(), spec.GetShares()[1].GetHost(), spec.GetBlocks()[0].GetPath(), spec.GetPorts()[0].GetListen(), spec.GetKernel(), spec.GetInitrd()}
	if spec.GetCpus() != 0 { // the engine knows its host
		t.Errorf("%d CPUs", spec.GetCpus())
	}
	if want := []string{"/only/there", "/there/x", "/dev/there", "/there/s", "/there/k", "/there/i"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, args := range []string{
		"create a -v .:/src", "create a --block ./x", "create a --socket ./s:/run/s", "create a --kernel ./k", "create a --initrd i",
		"port add a ./s:/run/s", "journal backup monday", "create a -f " + file,
	} {
		b, e, code := run(args)
		if code != exitUsage || len(e.got) != 0 || !strings.Contains(b.err.String(), "an absolute path there") {
			t.Errorf("%s: exit %d, %s", args, code, b.err.String())
		}
	}
}

// TestDefaultElsewhere: choices are about machines of this host.
func TestDefaultElsewhere(t *testing.T) {
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	if code := b.run(t, "context", "add", "lab", "ssh://lab"); code != 0 {
		t.Fatal(code)
	}
	if err := os.WriteFile(filepath.Join(dir, "arcbox", "default-machine"), []byte("web\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"default":                             "web\n",
		"default --context lab":               "default\n",
		"default --context lab --format json": "{\n  \"name\": \"default\",\n  \"chosen\": false\n}\n",
	} {
		b, _ := contextBench(t, dir, nil)
		if code := b.run(t, strings.Fields(args)...); code != 0 || b.out.String() != want {
			t.Errorf("%s: exit %d, %q", args, code, b.out.String())
		}
	}
	for _, args := range []string{"default db --context lab", "default --unset --context lab"} {
		b, taken := contextBench(t, dir, nil)
		if code := b.run(t, strings.Fields(args)...); code != exitConflict || *taken != nil {
			t.Errorf("%s: exit %d, door %v", args, code, *taken)
		}
	}
}
