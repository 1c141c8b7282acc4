package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// sshBench is a command line with a home of its own, in which web has keys.
func sshBench(t *testing.T, e engine) (*bench, string) {
	t.Helper()
	root := t.TempDir()
	keys := filepath.Join(root, "data", "ssh", "web.arcbox")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "id_ed25519"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, e)
	b.env = func(name string) string { return map[string]string{home.Var: root, "HOME": root}[name] }
	return b, root
}

func TestSSHBecomesSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil { // any program will do: it is not run
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin)
	}
	for args, want := range map[string][]string{
		"ssh web":                               {"-l root", "-- web.arcbox"},
		"ssh WEB -l ann -- ls -l":               {"-l ann", "-- web.arcbox ls -l"},
		"ssh web -A -N -t -L 1:h:2 -R 3:h:4":    {"-L 1:h:2", "-R 3:h:4", " -A", " -N", " -t", "-- web.arcbox"},
		"ssh web -D 1080 -o LogLevel=QUIET cat": {"-o LogLevel=QUIET -o IdentityFile", "-D 1080", "-- web.arcbox cat"},
	} {
		e := answers(&wire.Ticket{}, nil)
		b, root := sshBench(t, e)
		var got []string
		b.replace = func(_ string, argv, _ []string) error { got = argv; return nil }
		if code := b.run(t, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d, %q", args, code, b.err.String())
		}
		line := strings.Join(got, " ")
		for _, part := range append(want, root+`/data/ssh/%h/known_hosts"`, "StrictHostKeyChecking yes", "--home '"+root+"' ssh-proxy %h") {
			if !strings.Contains(line, part) {
				t.Errorf("%s: %q has no %q", args, line, part)
			}
		}
		if !strings.HasSuffix(line, want[len(want)-1]) {
			t.Errorf("%s: %q ends otherwise", args, line)
		}
		if open, ok := e.got[0].(*wire.OpenGuest); !ok || open.GetPort() != sshPort || !strings.EqualFold(open.GetName(), "web") {
			t.Errorf("%s: the engine was asked %v", args, e.got)
		}
	}
}

func TestSSHRefusals(t *testing.T) {
	b, _ := sshBench(t, answers(nil, refusal(wire.Code_CODE_CONFLICT)))
	if code := b.run(t, "ssh", "web"); code != exitConflict || b.err.Len() == 0 {
		t.Errorf("a machine that does not run: exit %d, %q", code, b.err.String())
	}
	b, _ = sshBench(t, answers(&wire.Ticket{}, nil))
	if code := b.run(t, "ssh", "db"); code != exitConflict || !strings.Contains(b.err.String(), "arcbox restart db") {
		t.Errorf("a machine without keys: exit %d, %q", code, b.err.String())
	}
	b, _ = sshBench(t, nil)
	if code := b.run(t, "--no-autostart", "ssh", "web"); code != exitNoEngine {
		t.Errorf("no engine: exit %d, %q", code, b.err.String())
	}
	t.Setenv("PATH", t.TempDir())
	b, _ = sshBench(t, answers(&wire.Ticket{}, nil))
	if code := b.run(t, "ssh", "web"); code != exitGeneral || !strings.Contains(b.err.String(), "openssh-client") {
		t.Errorf("no ssh: exit %d, %q", code, b.err.String())
	}
	for _, args := range []string{"ssh a/b", "ssh web --bogus", "ssh-proxy", "ssh-proxy a.b.arcbox", "ssh-config web"} {
		b, _ := sshBench(t, nil)
		if code := b.run(t, strings.Fields(args)...); code != exitUsage || b.err.Len() == 0 {
			t.Errorf("%s: exit %d, %q", args, code, b.err.String())
		}
	}
}

func TestSSHConfig(t *testing.T) {
	b, root := sshBench(t, nil)
	if code := b.run(t, "ssh-config"); code != 0 || !strings.HasPrefix(b.out.String(), "# Made by arcbox ssh-config.\nHost *.arcbox\n  User root\n  IdentityFile \""+root) {
		t.Fatalf("exit %d, %q, %q", code, b.out.String(), b.err.String())
	}
	want := b.out.String()
	for _, included := range []bool{false, true} {
		b.out.Reset()
		if code := b.run(t, "ssh-config", "--install", "--format", "json"); code != 0 {
			t.Fatalf("exit %d, %q", code, b.err.String())
		}
		var out sshConfigJSON
		if err := json.Unmarshal(b.out.Bytes(), &out); err != nil || out.Active != included || out.Include != `Include "`+out.Path+`"` {
			t.Fatalf("%+v, %v", out, err)
		}
		if text, err := os.ReadFile(out.Path); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", out.Path, text, err)
		}
		if info, err := os.Stat(out.Path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if err := os.MkdirAll(filepath.Join(root, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, ".ssh", "config"), []byte(out.Include+"\nHost x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.env = func(name string) string { return map[string]string{home.Var: `/a"b`}[name] }
	if code := b.run(t, "ssh-config"); code != exitUsage {
		t.Errorf("a path that can't be written: exit %d", code)
	}
}

func TestSSHConfigQuotes(t *testing.T) {
	w, err := wayHere(home.Home{Root: "/a b%c'd", Data: "/a b%c'd/data"})
	if err != nil {
		t.Fatal(err)
	}
	options := w.options()
	if !slices.Contains(options, `IdentityFile "/a b%%c'd/data/ssh/%h/id_ed25519"`) {
		t.Errorf("%q", options)
	}
	if last := options[len(options)-1]; !strings.HasSuffix(last, ` --home '/a b%%c'\''d' ssh-proxy %h`) {
		t.Errorf("%q", last)
	}
}

// sshEngine gives out a connection whose far end is returned.
func sshEngine(t *testing.T) (*fakeEngine, *net.UnixConn) {
	t.Helper()
	near, far := unixPair(t)
	e := answers(&wire.Ticket{Ticket: "t"}, nil)
	e.answer = func(_ context.Context, msg proto.Message) (proto.Message, error) {
		if open, ok := msg.(*wire.OpenGuest); !ok || open.GetName() != "web" || open.GetPort() != sshPort {
			t.Errorf("asked %v", msg)
		}
		return &wire.Ticket{Ticket: "t"}, nil
	}
	e.open = func(*wire.Ticket) (net.Conn, error) { return near, nil }
	return e, far
}

func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

func TestSSHProxyHandsOver(t *testing.T) {
	e, far := sshEngine(t)
	b, _ := sshBench(t, e)
	ours, theirs := unixPair(t)
	out, err := ours.File()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b.stdout = out
	if code := b.run(t, "ssh-proxy", "web.arcbox"); code != 0 {
		t.Fatalf("exit %d, %q", code, b.err.String())
	}
	one, oob := make([]byte, 1), make([]byte, 64)
	n, oobn, _, _, err := theirs.ReadMsgUnix(one, oob)
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	passed := os.NewFile(uintptr(fds[0]), "passed")
	defer passed.Close()
	if _, err := passed.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, one); err != nil || one[0] != 'x' {
		t.Errorf("%q, %v: another connection was passed", one, err)
	}
}

func TestSSHProxyWantsASocket(t *testing.T) {
	e, _ := sshEngine(t)
	b, _ := sshBench(t, e)
	if code := b.run(t, "ssh-proxy", "web"); code != exitUsage || !strings.Contains(b.err.String(), "--pipe") {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
}

func TestSSHProxyCarries(t *testing.T) {
	e, far := sshEngine(t)
	b, _ := sshBench(t, e)
	b.stdin = strings.NewReader("there")
	said := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(far) // to the end of stdin
		said <- string(text)
		_, _ = io.WriteString(far, "back")
		_ = far.CloseWrite()
	}()
	if code := b.run(t, "ssh-proxy", "--pipe", "web"); code != 0 || b.out.String() != "back" || <-said != "there" {
		t.Errorf("exit %d, %q, %q", code, b.out.String(), b.err.String())
	}
}

// TestSSHToAnotherHost: the keys are borrowed before ssh runs, and again by what ssh
// runs, which carries the bytes, for there is no connection to hand over.
func TestSSHToAnotherHost(t *testing.T) {
	fakeSSH(t, "exit 1")
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	if code := b.run(t, "context", "add", "Lab", "ssh://lab", "--use"); code != 0 {
		t.Fatal(code)
	}
	keys := filepath.Join(dir, "arcbox", "ssh")
	var argv []string
	run := func(lent error, args ...string) (*bench, int) {
		e, _ := sshEngine(t)
		e.answer = func(_ context.Context, msg proto.Message) (proto.Message, error) {
			if lend, ok := msg.(*wire.LendKeys); ok && strings.EqualFold(lend.GetName(), "web") {
				return &wire.LoginKeys{Login: []byte("key"), KnownHosts: []byte("known")}, lent
			}
			return &wire.Ticket{Ticket: "t"}, nil
		}
		b, _ := contextBench(t, dir, nil)
		b.connect = func(context.Context, client.Door) (engine, error) { return e, nil }
		b.replace = func(_ string, line, _ []string) error { argv = line; return nil }
		return b, b.run(t, args...)
	}
	if b, code := run(refusal(wire.Code_CODE_CONFLICT), "ssh", "web"); code != exitConflict {
		t.Errorf("a machine without keys: exit %d, %s", code, b.err.String())
	}
	if b, code := run(nil, "ssh", "WEB", "-l", "ann", "--", "id"); code != 0 || !strings.HasSuffix(strings.Join(argv, " "), "-l ann -- web.lab.arcbox id") {
		t.Errorf("exit %d, %q, %s", code, argv, b.err.String())
	}
	for name, want := range map[string]string{"id_ed25519": "key", "known_hosts": "known"} {
		path := filepath.Join(keys, "web.lab.arcbox", name)
		data, err := os.ReadFile(path)
		if err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", path, data, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	b, code := run(nil, "ssh-config")
	for _, want := range []string{"Host *.lab.arcbox\n", keys + `/%h/id_ed25519"`, "ProxyCommand env XDG_CONFIG_HOME='" + dir + "' ", " --context lab ssh-proxy --pipe %h\n"} {
		if code != 0 || !strings.Contains(b.out.String(), want) {
			t.Errorf("exit %d, %q does not say %q", code, b.out.String(), want)
		}
	}
	if strings.Contains(b.out.String(), "Fdpass") {
		t.Errorf("%q", b.out.String())
	}
	if b, code = run(nil, "ssh-config", "--install"); code != 0 || b.out.String() != `Include "`+filepath.Join(keys, "lab.config")+"\"\n" {
		t.Errorf("exit %d, %q, %s", code, b.out.String(), b.err.String())
	}
	if b, code = run(errors.New("none are lent"), "ssh-proxy", "--pipe", "web.lab.arcbox"); code != exitGeneral || b.out.Len() != 0 {
		t.Errorf("exit %d, %s", code, b.err.String())
	}
}
