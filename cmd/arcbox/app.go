package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// askTime bounds a question to the engine. Questions are answered from memory,
// so an engine that takes longer does not answer at all.
const askTime = 10 * time.Second

// engine is an engine that answers. The real one is a client of its endpoint
// (live.go), the other is scripted, for tests.
type engine interface {
	// Ask puts a question; it changes nothing.
	Ask(ctx context.Context, question proto.Message) (proto.Message, error)
	// Command asks for a change, and is resumed where the connection breaks.
	Command(ctx context.Context, command proto.Message) (*wire.Done, error)
	// Follow hands over records until ctx is over.
	Follow(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error
	// Open turns a ticket into a connection.
	Open(ctx context.Context, t *wire.Ticket) (net.Conn, error)
	Close()
}

// app is one run of the command: where it reads and writes, what it was told
// by the global flags, and its ways out into the world.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	env     func(string) string
	environ func() []string
	now     func() time.Time
	connect func(ctx context.Context, door client.Door) (engine, error)
	launch  func(ctx context.Context, h home.Home, flags []string) (*child, error)
	replace func(path string, argv, env []string) error // exec(2)
	signals func(...os.Signal) (<-chan os.Signal, func())
	host    host // of services

	homeFlag    string
	contextFlag string
	chosen      *choice // what they and the environment say; nil = not asked yet
	silent      bool    // nobody is asked for a password
	format      string
	quiet       bool
	noAutostart bool
	untilHangup bool

	ran  bool // a verb was reached: what fails from here on is no fault of usage
	exec bool // the verb is exec or shell, whose own faults have one code
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	a := &app{
		stdin: stdin, stdout: stdout, stderr: stderr,
		env: os.Getenv, environ: os.Environ, now: time.Now, launch: launchEngine,
		replace: syscall.Exec, signals: notify, host: thisHost(),
	}
	a.connect = a.dialEngine
	return a
}

func notify(which ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, which...)
	return c, func() { signal.Stop(c) }
}

// execute runs one command line and tells the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	a.exec = cmd.Name() == "exec" || cmd.Name() == "shell" || cmd.Name() == "run"
	switch {
	case err == nil:
	case a.ran:
		err = withNext(cmd, err)
	default:
		err = usage(cmd, err)
	}
	return a.fail(err)
}

// verb makes a cobra run function of f: interruptible, its engine closed.
func (a *app) verb(f func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.ran = true
		ctx, stop := a.interruptible(cmd.Context())
		defer stop()
		return f(ctx, cmd, args)
	}
}

// asking makes what a verb does of f, which asks an engine, connected to by connect.
func asking(connect func(context.Context) (engine, error), f func(ctx context.Context, e engine, args []string) error) func(context.Context, *cobra.Command, []string) error {
	return func(ctx context.Context, _ *cobra.Command, args []string) error {
		e, err := connect(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		return f(ctx, e, args)
	}
}

// interruptible is over when a person presses Ctrl-C.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.hangup(ctx, cancel)
	c, stop := a.signals(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case <-c:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { stop(); cancel(nil) }
}

// home finds the engine's home; --home stands above the environment.
// It is of this host: what is about a home's files is refused for an engine elsewhere.
func (a *app) home() (home.Home, error) {
	p, err := a.choice()
	if err != nil {
		return home.Home{}, err
	}
	if p.remote != nil {
		return home.Home{}, p.elsewhere()
	}
	if a.homeFlag == "" {
		return asUsage(home.Find(a.env))
	}
	root, err := filepath.Abs(a.homeFlag)
	if err != nil {
		return home.Home{}, err
	}
	return asUsage(home.Find(func(name string) string {
		if name == home.Var {
			return root
		}
		return a.env(name)
	}))
}

func asUsage(h home.Home, err error) (home.Home, error) {
	if err != nil {
		return h, &failure{code: exitUsage, kind: "usage", message: err.Error(), hint: "ARCBOX_HOME=$HOME/.arcbox arcbox list"}
	}
	return h, nil
}

func (a *app) json() bool { return a.format == "json" }
