package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// patience bounds every wait: a host may be busy, but not for ever.
const patience = 2 * time.Minute

// engine is an arcbox-engine in a home of its own.
type engine struct {
	b     *bench
	home  home.Home
	flags []string
	cmd   *exec.Cmd
	done  chan struct{}
	*client.Client
}

// newEngine names a home; nothing runs yet.
func (b *bench) newEngine(name string, flags ...string) (*engine, error) {
	root := filepath.Join(b.tmp, name)
	h, err := home.Find(func(key string) string {
		if key == home.Var {
			return root
		}
		return os.Getenv(key)
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{h.Data, h.Log, h.Machines()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("home of the engine: %w", err)
		}
	}
	return &engine{b: b, home: h, flags: flags}, nil
}

func (e *engine) env() []string { return append(os.Environ(), home.Var+"="+e.home.Root) }

// start runs the engine and connects; it gives the time from the fork to the
// answer of the first list.
func (e *engine) start(ctx context.Context) (time.Duration, *wire.Machines, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	logFile, err := os.OpenFile(e.home.EngineLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, nil, fmt.Errorf("engine's log: %w", err)
	}
	defer logFile.Close()
	e.cmd = exec.Command(filepath.Join(e.b.bin, "arcbox-engine"), e.flags...)
	e.cmd.Env, e.cmd.Stderr = e.env(), logFile
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours: the engine has yet to stop its machines
	begun := time.Now()
	if err := e.cmd.Start(); err != nil {
		return 0, nil, fmt.Errorf("start the engine: %w", err)
	}
	cmd, done := e.cmd, make(chan struct{})
	e.done = done
	go func() {
		_ = cmd.Wait() // it is killed, or told to stop
		close(done)
	}()
	if err := e.connect(ctx); err != nil {
		e.kill()
		return 0, nil, err
	}
	list, err := e.list(ctx)
	if err != nil {
		e.kill()
		return 0, nil, err
	}
	return time.Since(begun), list, nil
}

func (e *engine) list(ctx context.Context) (*wire.Machines, error) {
	return client.List(func(m *wire.ListMachines) (*wire.Machines, error) {
		return client.Call[*wire.Machines](ctx, e.Client, m)
	})
}

// connect tries until the engine listens.
func (e *engine) connect(ctx context.Context) error {
	for {
		c, err := client.Dial(ctx, client.Socket(e.home.Socket()))
		if err == nil {
			e.Client = c
			return nil
		}
		if !errors.Is(err, client.ErrNoEngine) {
			return err
		}
		select {
		case <-e.done:
			return fmt.Errorf("the engine ended: see %s", e.home.EngineLog())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Microsecond):
		}
	}
}

// kill ends the engine as kill -9 does; its machines run on.
func (e *engine) kill() {
	if e.Client != nil {
		_ = e.Close()
		e.Client = nil
	}
	if e.cmd != nil {
		_ = e.cmd.Process.Kill()
		<-e.done
		e.cmd = nil
	}
}

// end stops the machines, then the engine, and removes the home.
func (e *engine) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if e.Client != nil {
		_, _ = client.Call[*wire.Done](ctx, e.Client, &wire.StopEngine{Request: request(), Machines: true, TimeoutNanos: 1})
		select {
		case <-e.done:
		case <-ctx.Done():
		}
	}
	e.kill()
	_ = os.RemoveAll(e.home.Root)
}

func (e *engine) pid() int { return e.cmd.Process.Pid }

func request() *wire.Request { return &wire.Request{Id: uuid.NewString()} }

// machine is a spec that costs the host little.
func machine(name, backend string) *wire.CreateMachine {
	m := &wire.CreateMachine{Request: request(), Name: name, Spec: &wire.Spec{Cpus: 1, Memory: bootMemory, Backend: backend}}
	if backend == "sim" {
		m.Spec.Script = "boot=1ms"
	}
	return m
}

// do carries out a command.
func (e *engine) do(ctx context.Context, msg interface {
	GetRequest() *wire.Request
}) (*wire.Done, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return client.Call[*wire.Done](ctx, e.Client, msg.(command))
}
