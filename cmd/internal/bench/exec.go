package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	execRounds = 50
	execName   = "exec"
)

// execs measures a whole process that runs `true` in a guest, against ssh to the
// agent's SSH in the same guest: one that logs in each time, and one whose
// ControlMaster is logged in already.
func (b *bench) execs(ctx context.Context) error {
	if _, err := exec.LookPath("ssh"); err != nil {
		return fmt.Errorf("exec: %w (apt-get install openssh-client)", err)
	}
	e, err := b.newEngine(execName)
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if _, err := e.do(ctx, machine(execName, "qemu")); err != nil {
		return err
	}
	if _, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: execName}); err != nil {
		return err
	}
	ssh, err := e.sshClient(ctx)
	if err != nil {
		return err
	}
	// What stays in the background keeps its standard error: a pipe would never end.
	if err := ssh("-o", "ControlMaster=yes", "-f", "-N").Run(); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	defer ssh("-O", "exit").Run() //nolint:errcheck // it ends with the machine too
	kinds := []func() *exec.Cmd{
		func() *exec.Cmd { return e.cli(ctx, "exec", "-n", execName, "--", "true") },
		func() *exec.Cmd { return ssh("-n", "-o", "ControlPath=none", "true") },
		func() *exec.Cmd { return ssh("-n", "true") },
	}
	took := make([][]time.Duration, len(kinds))
	for i := range execRounds + 3 { // the first ones warm up
		for k, kind := range kinds {
			d, err := process(kind())
			if err != nil {
				return err
			}
			if i >= 3 {
				took[k] = append(took[k], d)
			}
		}
	}
	b.execRows(took[0], took[1], took[2])
	return nil
}

func (b *bench) execRows(ours, cold, warm []time.Duration) {
	mid := median(ours)
	log.Printf("exec: %s, ssh: %s, ssh with a ControlMaster: %s", ms(mid), ms(median(cold)), ms(median(warm)))
	ratio := paired(ours, cold)
	b.out.add(row{
		what: "`arcbox exec NAME -- true`, against ssh that logs in", aim: "≤ 25 ms, ≤ 0.3 ×",
		ours: ms(mid), rival: "ssh: " + ms(median(cold)), ratio: times(ratio), runs: len(ours),
		hit: judge(mid <= 25*time.Millisecond && ratio <= 0.3),
	})
	ratio = paired(ours, warm)
	b.out.add(row{
		what: "the same, against ssh with a ControlMaster", aim: "≤ 1 ×",
		ours: ms(mid), rival: "ssh: " + ms(median(warm)), ratio: times(ratio), runs: len(ours), hit: judge(ratio <= 1),
	})
}

// sshClient gives command lines of ssh to the machine. Its options go before
// the host's name; a last word that is "true" is the command.
func (e *engine) sshClient(ctx context.Context) (func(args ...string) *exec.Cmd, error) {
	config, err := e.sshConfig(ctx)
	if err != nil {
		return nil, err
	}
	control := filepath.Join(e.b.tmp, "ctl")
	return func(args ...string) *exec.Cmd {
		line := []string{"-F", config}
		command := len(args) > 0 && args[len(args)-1] == "true"
		if command {
			args = args[:len(args)-1]
		}
		line = append(append(line, args...), "-o", "ControlPath="+control, execName+".arcbox")
		if command {
			line = append(line, "true")
		}
		return exec.CommandContext(ctx, "ssh", line...)
	}, nil
}

// sshConfig is the file that leads ssh to the engine's machines.
func (e *engine) sshConfig(ctx context.Context) (string, error) {
	text, err := e.cli(ctx, "ssh-config").Output()
	if err != nil {
		return "", fmt.Errorf("arcbox ssh-config: %w", err)
	}
	config := filepath.Join(e.home.Root, "ssh-config")
	return config, os.WriteFile(config, text, 0o600)
}
