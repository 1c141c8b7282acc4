package main

import (
	"context"
	"encoding/json"
	"os"
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

func refusal(code wire.Code) error {
	return &client.RefusedError{Code: code, Message: "no: " + codeName(code), Hint: "arcbox list", Machine: "web", State: "Stopped"}
}

func TestRefusalsDecideTheExitCode(t *testing.T) {
	for code, want := range map[wire.Code]int{
		wire.Code_CODE_INTERNAL: 1, wire.Code_CODE_BAD_INPUT: 2, wire.Code_CODE_NOT_FOUND: 3, wire.Code_CODE_CONFLICT: 4,
		wire.Code_CODE_TIMEOUT: 5, wire.Code_CODE_UNAVAILABLE: 6, wire.Code_CODE_UNSAFE: 7, wire.Code_CODE_FAILED: 1,
	} {
		for _, verb := range []string{"start web", "stop web", "rm web", "inspect web", "wait web agent", "create web", "ping web", "logs web"} {
			b := newBench(t, answers(nil, refusal(code)))
			if got := b.run(t, strings.Fields(verb)...); got != want {
				t.Errorf("%s, %s: exit %d, want %d", verb, code, got, want)
			}
			if want := "arcbox: "; !strings.HasPrefix(b.err.String(), want) || !strings.Contains(b.err.String(), "\nhint: arcbox list\n") {
				t.Errorf("%s: %q", verb, b.err.String())
			}
		}
		b := newBench(t, answers(nil, refusal(code)))
		if got := b.run(t, "exec", "web", "true"); got != exitExecFault {
			t.Errorf("exec, %s: exit %d", code, got)
		}
	}
}

func TestBadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kernel")
	empty := filepath.Join(filepath.Dir(file), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want []string // what the error names
	}{
		{"lst", []string{"unknown command", "list", "arcbox help"}},
		{"engine strt", []string{"unknown command", "did you mean start or stop?", "arcbox help engine"}},
		{"kill web", []string{"unknown command", "did you mean stop?"}},
		{"stop web --force --no-kill", []string{"--kill and --no-kill"}},
		{"journal wy", []string{"unknown command", "arcbox journal --machine wy", "arcbox help journal"}},
		{"list --bogus", []string{"--bogus", "arcbox help list"}},
		{"list x", []string{"no argument", "arcbox help list"}},
		{"list --format yaml", []string{"yaml", "table or json"}},
		{"create a/b", []string{"name", "a/b", "1 to 63"}},
		{"create ..", []string{"name", "..", "1 to 63"}},
		{"create " + strings.Repeat("x", 64), []string{"name", "1 to 63"}},
		{"create -- -x", []string{"name", "1 to 63"}},
		{"create a b", []string{"2 arguments"}},
		{"create a --cpus 0", []string{"--cpus 0", "at least 1", "arcbox help create"}},
		{"create a --cpus -1", []string{"--cpus -1", "at least 1"}},
		{"create a --cpus x", []string{"--cpus \"x\": a whole number is needed\n", "arcbox help create"}},
		{"create a --memory -1", []string{"--memory \"-1\": a number, bare for MiB"}},
		{"create a --memory 1e3", []string{"--memory \"1e3\": a number"}},
		{"create a --memory 99999999T", []string{"whole bytes are needed, at most 9223372036854775807"}},
		{"create ü", []string{"name", "1 to 63"}},
		{"list --quiet=maybe", []string{"--quiet \"maybe\": true or false\n"}},
		{"completion tcsh", []string{"unknown command \"tcsh\"", "arcbox help completion"}},
		{"--bogus", []string{"--bogus", "arcbox help"}},
		{"start -x", []string{"-x", "arcbox help start"}},
		{"restart --kill --timeout 3s", []string{"--kill and --timeout: one of them at a time"}},
		{"create a --memory 63", []string{"--memory 63M", "64M", "bare number is MiB"}},
		{"create a --memory 0", []string{"64M"}},
		{"create a --memory 5X", []string{"5X", "K, M, G or T"}},
		{"create a --kernel " + file, []string{"--kernel", file, "no such file"}},
		{"create a --initrd " + filepath.Dir(file), []string{"--initrd", "not a file"}},
		{"create a --kernel /dev/null", []string{"--kernel \"/dev/null\"", "not a file"}},
		{"create a --initrd " + empty, []string{"--initrd", empty, "it is empty"}},
		{"create a --backend vbox", []string{"--backend", "vbox", "qemu, vz, sim"}},
		{"create a --restart maybe", []string{"--restart", "maybe", "no, on-failure, always"}},
		{"create a --accel fast", []string{"--accel", "fast", "auto, kvm, tcg"}},
		{"create a --block " + filepath.Dir(file), []string{"--block", "neither a file nor a block device"}},
		{"create a --block /dev/null", []string{"--block \"/dev/null\"", "neither"}},
		{"create a --block " + empty + ":ro", []string{"--block", empty, "it is empty"}},
		{"create a --block " + file, []string{"--block", file, "no such file"}},
		{"create a --block :ro", []string{"--block \":ro\"", "PATH or PATH:ro"}},
		{"create a --block errors_test.go --block ./errors_test.go:ro", []string{"./errors_test.go:ro", "twice"}},
		{"create a" + strings.Repeat(" --block errors_test.go", 13), []string{"13", "at most 12"}},
		{"create a --script x", []string{"--script", "--backend sim"}},
		{"create a --cmdline " + strings.Repeat("x", 1025), []string{"--cmdline", "1024"}},
		{"stop --timeout 0", []string{"--timeout", "at least 1ms"}},
		{"stop --timeout soon", []string{"soon", "30s"}},
		{"stop --kill --no-kill", []string{"--kill and --no-kill: one of them at a time", "arcbox help stop"}},
		{"set a", []string{"--cpus, --memory, --disk, --egress, --auto-ports, --label or --unlabel", "arcbox help set"}},
		{"set a --egress=", []string{`--egress ""`, "allow, deny, or CIDR[:PORT]"}},
		{"set a --disk 1M", []string{"--disk 1M", "256M to 8T"}},
		{"set a --cpus 0", []string{"--cpus 0", "at least 1"}},
		{"set a --memory 63M", []string{"--memory 63M", "at least 64M"}},
		{"rm", []string{"name", "missing", "arcbox help rm"}},
		{"wait web", []string{"running, booted, provisioned, stopped, agent"}},
		{"wait web asleep", []string{"asleep", "running, booted, provisioned, stopped, agent"}},
		{"logs --tail 0", []string{"--tail 0", "at least 1"}},
		{"logs --console --agent", []string{"console", "agent"}},
		{"journal --limit 0", []string{"--limit 0", "1 to 1000"}},
		{"journal --since never", []string{"--since", "never", "10m"}},
		{"--home /" + strings.Repeat("x", 100) + " list", []string{"103", "ARCBOX_HOME"}},
	} {
		b := newBench(t, answers(nil, refusal(wire.Code_CODE_INTERNAL)))
		if code := b.run(t, strings.Fields(c.args)...); code != exitUsage {
			t.Errorf("%s: exit %d, want 2: %s", c.args, code, b.err.String())
		}
		for _, w := range append(c.want, "\nhint: ") {
			if !strings.Contains(b.err.String(), w) {
				t.Errorf("%s: %q does not name %q", c.args, b.err.String(), w)
			}
		}
		if b.out.Len() > 0 {
			t.Errorf("%s: printed %q", c.args, b.out.String())
		}
	}
}

func TestErrorInJSON(t *testing.T) {
	b := newBench(t, answers(nil, refusal(wire.Code_CODE_NOT_FOUND)))
	b.run(t, "inspect", "web", "--format", "json")
	var got struct {
		Error failureJSON `json:"error"`
	}
	if err := json.Unmarshal(b.err.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, b.err.String())
	}
	want := failureJSON{Code: "not-found", Exit: 3, Message: "no: not-found", Hint: "arcbox list", Machine: "web", State: "Stopped"}
	if got.Error != want {
		t.Errorf("%+v, want %+v", got.Error, want)
	}
}

func TestErrorsCantDriveTheTerminal(t *testing.T) {
	b := newBench(t, answers(nil, &client.RefusedError{Code: wire.Code_CODE_FAILED, Message: "tail:\nx\x1b[2Jy\r\nz", Hint: "a\nb\x07"}))
	b.run(t, "start", "web")
	if got, want := b.err.String(), "arcbox: tail:\nx�[2Jy\nz\nhint: a\nhint: b�\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestInterruptDetaches(t *testing.T) {
	for verb, hint := range map[string]string{
		"start": "arcbox wait web running", "stop": "arcbox wait web stopped", "restart": "arcbox wait web running",
		"up": "arcbox wait web booted", "rm": "arcbox list",
	} {
		var b *bench
		b = newBench(t, &fakeEngine{answer: func(ctx context.Context, msg proto.Message) (proto.Message, error) {
			if _, question := msg.(*wire.InspectMachine); question {
				return &wire.Machine{}, nil
			}
			b.sent <- syscall.SIGINT
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if code := b.run(t, verb, "web"); code != exitInterrupted {
			t.Errorf("%s: exit %d", verb, code)
		}
		for _, w := range []string{"detached", "the engine goes on", "web", hint} {
			if !strings.Contains(b.err.String(), w) {
				t.Errorf("%s: %q does not say %q", verb, b.err.String(), w)
			}
		}
	}
}

func TestInterruptOfAQuestion(t *testing.T) {
	var b *bench
	b = newBench(t, &fakeEngine{answer: func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		b.sent <- os.Interrupt
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if code := b.run(t, "list"); code != exitInterrupted || b.err.Len() > 0 {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
}

func TestNoEngine(t *testing.T) {
	for _, args := range []string{"--no-autostart list", "--no-autostart start web", "engine status", "list --no-autostart"} {
		b := newBench(t, nil)
		if code := b.run(t, strings.Fields(args)...); code != exitNoEngine {
			t.Errorf("%s: exit %d", args, code)
		}
		for _, w := range []string{"no engine is running", "/a/run/engine.sock", "hint: arcbox engine start"} {
			if !strings.Contains(b.err.String(), w) {
				t.Errorf("%s: %q does not name %q", args, b.err.String(), w)
			}
		}
	}
	b := newBench(t, nil)
	if code := b.run(t, "engine", "stop"); code != 0 || !strings.Contains(b.err.String(), "no engine is running") {
		t.Errorf("engine stop: exit %d, %q", code, b.err.String())
	}
	b = newBench(t, nil)
	if code := b.run(t, "version"); code != 0 || !strings.Contains(b.out.String(), "not running") {
		t.Errorf("version: exit %d, %q", code, b.out.String())
	}
}

func TestHomeFlagStandsAboveTheEnvironment(t *testing.T) {
	b := newBench(t, nil)
	b.run(t, "--home", "/elsewhere", "engine", "status")
	if !strings.Contains(b.err.String(), "/elsewhere/run/engine.sock") {
		t.Errorf("%q", b.err.String())
	}
}

func TestHomeEnvReplaces(t *testing.T) {
	got := homeEnv([]string{"A=1", home.Var + "=/old", "B=2"}, home.Home{Root: "/new"})
	if want := []string{"A=1", "B=2", home.Var + "=/new"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
