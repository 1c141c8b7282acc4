package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// starting is a bench where an engine answers from the n-th dial on, and where
// a started engine ends with a code, or never (-1).
func starting(t *testing.T, n, code int) (*bench, *int) {
	b := newBench(t, nil)
	dials, launched := 0, 0
	b.connect = func(context.Context, client.Door) (engine, error) {
		if dials++; n > 0 && dials >= n {
			return &fakeEngine{answer: world}, nil
		}
		return nil, client.ErrNoEngine
	}
	b.launch = func(_ context.Context, h home.Home, _ []string) (*child, error) {
		launched++
		exited := make(chan int, 1)
		if code >= 0 {
			exited <- code
		}
		return &child{exited: exited, log: h.EngineLog()}, nil
	}
	return b, &launched
}

func TestAutostart(t *testing.T) {
	for _, c := range []struct {
		name           string
		answers, dies  int
		args           string
		exit, launched int
		err            string
	}{
		{"it answers after a while", 20, -1, "list -q", 0, 1, ""},
		{"another one was quicker", 200, exitConflict, "list -q", 0, 1, ""},
		{"another one was quicker, and the code does not say so", 20, 1, "list -q", 0, 1, ""},
		{"it dies", 0, 1, "list", exitNoEngine, 1, "ended at once with status 1"},
		{"it never answers", 0, -1, "list", exitNoEngine, 1, "does not answer after 1m0s"},
		{"it takes its time", 1000, -1, "list", 0, 1, "waiting up to 1m0s for it"},
		{"engine start", 5, -1, "engine start -q", 0, 1, ""},
		{"engine status starts none", 5, -1, "engine status", exitNoEngine, 0, "no engine is running"},
		{"version starts none", 5, -1, "version -q", 0, 0, ""},
		{"asked not to", 5, -1, "list --no-autostart", exitNoEngine, 0, "no engine is running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, launched := starting(t, c.answers, c.dies)
				code := b.run(t, strings.Fields(c.args)...)
				if code != c.exit || *launched != c.launched || !strings.Contains(b.err.String(), c.err) {
					t.Errorf("exit %d, %d launched, %q", code, *launched, b.err.String())
				}
			})
		})
	}
}

func TestMuteEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &fakeEngine{answer: func(ctx context.Context, _ proto.Message) (proto.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		began := time.Now()
		if code := b.run(t, "list"); code != exitNoEngine || !strings.Contains(b.err.String(), "did not answer") {
			t.Errorf("exit %d, %q", code, b.err.String())
		}
		if d := time.Since(began); d != askTime {
			t.Errorf("after %s", d)
		}
	})
}

// script writes an executable that stands for the engine.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), engineName)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	return path
}

func tempHome(t *testing.T) home.Home {
	t.Helper()
	root := t.TempDir()
	return home.Home{Root: root, Data: root + "/data", Run: root + "/run", Log: root + "/log"}
}

func TestLaunchShowsWhatTheEngineSaid(t *testing.T) {
	t.Setenv(engineVar, script(t, `echo "boom for $ARCBOX_HOME $1" >&2; exit 3`))
	h := tempHome(t)
	if err := os.MkdirAll(h.Log, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.EngineLog(), []byte("an older engine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := launchEngine(t.Context(), h, []string{"--allow-sim"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.died(<-c.exited)
	if want := "status 3; it said:\nboom for " + h.Root + " --allow-sim"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%q, want …%q", err, want)
	}
}

func TestLaunchPutsALongLogAside(t *testing.T) {
	t.Setenv(engineVar, script(t, "echo new; exit 0"))
	h := tempHome(t)
	if err := os.MkdirAll(h.Log, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.EngineLog(), make([]byte, maxLog+1), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := launchEngine(t.Context(), h, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-c.exited
	if got, err := os.ReadFile(h.EngineLog()); err != nil || string(got) != "new\n" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Stat(h.EngineLog() + ".1"); err != nil || info.Size() != maxLog+1 {
		t.Errorf("the old log: %v, %v", info, err)
	}
}

// TestHomeOfSomebodyElse: a home that is not one's own, or no place at all.
func TestHomeOfSomebodyElse(t *testing.T) {
	h := tempHome(t)
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}
	f := understood(noEngine(h, fmt.Errorf("client: %w", refused)))
	if f.code != exitNoEngine || f.hint != otherHome || !strings.Contains(f.message, h.Socket()) || !strings.Contains(f.message, "permission denied") {
		t.Errorf("another user's engine: %+v", f)
	}
	t.Setenv(engineVar, script(t, "exit 0"))
	if err := os.WriteFile(h.Log, nil, 0o600); err != nil { // where a directory should be
		t.Fatal(err)
	}
	_, err := launchEngine(t.Context(), h, nil)
	if f := understood(err); f.code != exitNoEngine || f.hint != otherHome || !strings.Contains(f.message, h.Log) {
		t.Errorf("no place for a log: %+v", f)
	}
}

func TestFindEngine(t *testing.T) {
	path := script(t, "exit 0")
	if got, err := findEngine(func(string) string { return path }); err != nil || got != path {
		t.Errorf("named: %s, %v", got, err)
	}
	_, err := findEngine(func(string) string { return path + "x" })
	if f := understood(err); !errors.Is(err, os.ErrNotExist) || f.code != exitNoEngine || !strings.Contains(f.message, path+"x") || !strings.Contains(f.hint, engineVar) {
		t.Errorf("named and missing: %v", err)
	}
	none := func(string) string { return "" }
	t.Setenv("PATH", filepath.Dir(path))
	if got, err := findEngine(none); err != nil || got != path {
		t.Errorf("by PATH: %s, %v", got, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := findEngine(none); understood(err).code != exitNoEngine || !strings.Contains(understood(err).hint, engineVar) {
		t.Errorf("nowhere: %v", err)
	}
}

func TestWatchProcess(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := watchProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	if err := p.Wait(over); !errors.Is(err, errInterrupted) {
		t.Errorf("while it runs: %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil { // a zombie counts as gone
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestEngineStopWaitsForTheProcess(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := &fakeEngine{answer: func(_ context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.EngineStatus); ok {
			return &wire.EngineInfo{Pid: int32(cmd.Process.Pid)}, nil //nolint:gosec // a pid
		}
		return &wire.Done{}, in.Close()
	}}
	b := newBench(t, e)
	if code := b.run(t, "engine", "stop", "--machines", "--timeout", "3s"); code != 0 {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
	msg := e.got[len(e.got)-1].(*wire.StopEngine)
	if !msg.GetMachines() || msg.GetTimeoutNanos() != 3e9 {
		t.Errorf("%v", msg)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestJournalOfAnEngineThatIsDown(t *testing.T) {
	const said = `echo "no engine runs" >&2; `
	for _, c := range []struct {
		args, body string
		exit       int
		out, err   string
	}{
		{"journal --machine web --since 1h --kind a,b", said + `echo "{\"records\":[{\"seq\":\"7\",\"kind\":\"$*\"}],\"later\":1}"`, 0,
			"journal --format=json --machine=web --kind=a --kind=b --since=2026-01-31T11:00:00Z --limit=1000", "no engine runs"},
		{"journal why web", said + `echo "{\"sentence\":\"$*\"}"`, 0, "journal --format=json why web", "no engine runs"},
		{"journal verify", said + `echo '{"records":"3","faults":[{"what":"torn"}]}'; exit 1`, 1, "torn", "1 faults in 3 records"},
		{"journal why no", said + `exit 3`, 3, "", "no engine runs"},
		{"journal", `echo rubbish`, 1, "", "what "},
		{"journal -f", `echo '{}'`, exitNoEngine, "", "no engine is running"},
	} {
		b := newBench(t, nil)
		path := script(t, c.body)
		b.env = func(name string) string { return map[string]string{home.Var: "/a", engineVar: path}[name] }
		code := b.run(t, strings.Fields(c.args)...)
		if code != c.exit || !strings.Contains(b.out.String(), c.out) || !strings.Contains(b.err.String(), c.err) {
			t.Errorf("%s: exit %d, out %q, err %q", c.args, code, b.out.String(), b.err.String())
		}
	}
}

func TestJournalRecoverIsTheEnginesBinary(t *testing.T) {
	b := newBench(t, nil)
	path := script(t, "")
	b.env = func(name string) string { return map[string]string{home.Var: "/a", engineVar: path}[name] }
	var got []string
	b.replace = func(p string, argv, env []string) error {
		got = append(append([]string{p}, argv...), env...)
		return nil
	}
	if code := b.run(t, "journal", "recover"); code != 0 || strings.Join(got, " ") != path+" arcbox-engine journal recover ARCBOX_HOME=/a" {
		t.Errorf("exit %d, %v", code, got)
	}
}
