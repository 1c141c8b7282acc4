package sim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/hvtest"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var token = []byte(strings.Repeat("t", wire.TokenSize))

func spec(t *testing.T, script string) hv.Spec {
	t.Helper()
	s := hv.Spec{
		Version: hv.SpecVersion, Machine: "m", Name: "n", Launch: "l", CID: 3, Backend: hv.BackendSim,
		CPUs: 2, Memory: 64 << 20, TokenFile: filepath.Join(t.TempDir(), "token"), Script: script,
	}
	if err := os.WriteFile(s.TokenFile, token, 0o400); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	hvtest.Run(t, func(t *testing.T) hvtest.Subject {
		return hvtest.Subject{
			Driver:    sim.New(),
			Spec:      func(t *testing.T) hv.Spec { return spec(t, "") },
			Failing:   func(t *testing.T) hv.Spec { return spec(t, "start-fails") },
			Echo:      sim.EchoPort,
			Boot:      func(ctx context.Context, vm hv.VM) (string, error) { return bootID(ctx, t, vm) },
			Closed:    99,
			GuestDial: func(vm hv.VM, port uint32) (net.Conn, error) { return vm.(*sim.VM).DialHost(port) },
		}
	})
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		" ; ;boot=20ms; agent=never;":        "",
		"exit-after=5s:guest-panic":          "",
		"console=a=b c":                      "",
		"bot=1s":                             `word "bot": allowed are boot=DURATION`,
		"boot":                               "write it boot=DURATION",
		"boot=1s;boot=2s":                    "stands twice",
		"boot=soon":                          `"soon" is no duration`,
		"boot=-1s":                           "is not within",
		"boot=9999h":                         "is not within",
		"agent=maybe":                        `"maybe" is none of ["ok" "never" "hang"]`,
		"cids-taken=6":                       "",
		"save-takes=1s; save-fails":          "",
		"save-fails=yes":                     "write it save-fails",
		"cids-taken=2":                       `"2" is no CID`,
		"cids-taken=many":                    `"many" is no CID`,
		"start-fails=yes":                    "write it start-fails",
		"exit-after=1s:tired":                `cause "tired" is none of`,
		"poweroff-after=1s;poweroff-after=2": "stands twice",
	} {
		_, err := sim.Parse(text)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "boot=20ms; agent=ok", "exit-after=5s:crashed;console=x", "=;=", "boot==1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := sim.Parse(text); err == nil && (s.Boot < 0 || len(s.Timed) > 4) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}

// bench is an env whose console is kept.
func bench(console io.Writer) hv.Env {
	return hv.Env{Console: console, AgentLog: io.Discard, Logf: func(string, ...any) {}}
}

// What the script times happens then, on a fake clock.
func TestScriptedEnds(t *testing.T) {
	for script, want := range map[string]struct {
		cause  hv.ExitCause
		after  time.Duration
		events string
	}{
		"exit-after=5s":                       {hv.ExitCrashed, 5 * time.Second, "exit"},
		"exit-after=5s:powered-off":           {hv.ExitPoweredOff, 5 * time.Second, "exit"},
		"panic-after=1h":                      {hv.ExitPanic, time.Hour, "panicked exit"},
		"poweroff-after=2s;panic-after=3s":    {hv.ExitPoweredOff, 2 * time.Second, "exit"},
		"reboot-after=1s":                     {hv.ExitCrashed, time.Second, "exit"},
		"console=never mind; exit-after=10ms": {hv.ExitCrashed, 10 * time.Millisecond, "exit"},
	} {
		s := spec(t, script)
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			vm, err := sim.New().Start(t.Context(), s, bench(io.Discard))
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			var exit *hv.Exit
			for e := range vm.Events() {
				kinds, exit = append(kinds, string(e.Kind)), e.Exit
			}
			if got := strings.Join(kinds, " "); got != want.events || exit.Cause != want.cause || time.Since(begun) != want.after {
				t.Errorf("%q: %s, %s after %s, want %+v", script, got, exit.Cause, time.Since(begun), want)
			}
		})
	}
}

// agent connects to a sim guest's agent.
func agent(t *testing.T, vm hv.VM) wire.AgentClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///guest",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := vm.Dial(ctx, hv.AgentPort)
			if err != nil {
				return nil, err
			}
			return c, wire.SendPreface(c, token)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return wire.NewAgentClient(cc)
}

func start(t *testing.T, script string) hv.VM {
	t.Helper()
	vm, err := sim.New().Start(t.Context(), spec(t, script), bench(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = vm.Kill(context.Background()) })
	return vm
}

func TestWrongToken(t *testing.T) {
	c, err := start(t, "").Dial(t.Context(), hv.AgentPort)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := wire.SendPreface(c, []byte(strings.Repeat("x", wire.TokenSize))); err == nil {
		t.Error("a wrong token was welcomed")
	}
}

// exec runs a program of the guest.
func exec(t *testing.T, a wire.AgentClient, start *wire.ExecStart, input string) (string, *wire.ExecDone) {
	t.Helper()
	stream, err := a.Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *wire.ExecRequest) {
		if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	send(&wire.ExecRequest{Msg: &wire.ExecRequest_Start{Start: start}})
	if input != "" {
		send(&wire.ExecRequest{Msg: &wire.ExecRequest_Stdin{Stdin: []byte(input)}})
		send(&wire.ExecRequest{Msg: &wire.ExecRequest_CloseStdin{CloseStdin: true}})
	}
	var out strings.Builder
	taken := 0
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("%v: %v", start.GetArgv(), err)
		}
		out.Write(m.GetStdout())
		taken += int(m.GetStdinTaken())
		if d := m.GetDone(); d != nil {
			if taken != len(input) {
				t.Errorf("%v: leave to send %d bytes more, want %d", start.GetArgv(), taken, len(input))
			}
			return out.String(), d
		}
	}
}

func TestExec(t *testing.T) {
	a := agent(t, start(t, ""))
	hello, err := a.Hello(t.Context(), &wire.HelloRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv   []string
		input  string
		output string
		status int32
	}{
		{argv: []string{"true"}},
		{argv: []string{"false"}, status: 1},
		{argv: []string{"echo", "a", "b"}, output: "a b\n"},
		{argv: []string{"cat"}, input: "in and out", output: "in and out"},
		{argv: []string{"cat", "/proc/sys/kernel/random/boot_id"}, output: hello.GetBootId() + "\n"},
		{argv: []string{"cat", "/etc/passwd"}, status: 1},
		{argv: []string{"sh", "-c", "exit 7"}, status: 7},
		{argv: []string{"sleep", "0.001"}},
	} {
		out, done := exec(t, a, &wire.ExecStart{Argv: c.argv}, c.input)
		if out != c.output || done.GetStatus() != c.status || done.GetError() != "" {
			t.Errorf("%v: %q, %v", c.argv, out, done)
		}
	}
	if _, done := exec(t, a, &wire.ExecStart{Argv: []string{"vi"}}, ""); done.GetErrorStatus() != 127 {
		t.Errorf("vi: %v", done)
	}
	if _, done := exec(t, a, &wire.ExecStart{Argv: []string{"sleep", "100"}, TimeoutNanos: 1e6}, ""); !done.GetTimedOut() {
		t.Errorf("sleep over its limit: %v", done)
	}
}

func TestShutdown(t *testing.T) {
	vm := start(t, "")
	if _, err := agent(t, vm).Shutdown(t.Context(), &wire.ShutdownRequest{}); err != nil {
		t.Fatal(err)
	}
	var exit *hv.Exit
	for e := range vm.Events() {
		exit = e.Exit
	}
	if exit.Cause != hv.ExitPoweredOff {
		t.Errorf("exit %+v", exit)
	}
}

// A reboot that is allowed changes the boot id and cuts what was open.
func TestReboot(t *testing.T) {
	vm := start(t, "reboot-after=50ms")
	if err := vm.(hv.Rebooter).AllowReboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := agent(t, vm).Hello(t.Context(), &wire.HelloRequest{})
	if err != nil {
		t.Fatal(err)
	}
	open, err := vm.Dial(t.Context(), sim.EchoPort)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the reboot")
	}
	if e := <-vm.Events(); e.Kind != hv.EventRebooted {
		t.Fatalf("event %+v", e)
	}
	after, err := agent(t, vm).Hello(t.Context(), &wire.HelloRequest{}, grpc.WaitForReady(true))
	if err != nil || after.GetBootId() == before.GetBootId() {
		t.Errorf("boot ids %s, %s, %v", before.GetBootId(), after.GetBootId(), err)
	}
}
