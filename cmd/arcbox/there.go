package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// hangupFlag is for arcbox of the engine's host: ssh tells a command of its end by
// nothing but that nobody reads what it says.
const hangupFlag = "until-hangup"

// plainWord needs no quotes for a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@=-]+$`)

// there has a command line run by the arcbox of the engine's host, where that is
// another one: what the command is about is files there. far is false on its own host.
func (a *app) there(ctx context.Context, cmd *cobra.Command, args []string, stdin io.Reader) (far bool, err error) {
	p, err := a.choice()
	if err != nil || p.remote == nil {
		return err != nil, err
	}
	return true, a.runThere(ctx, wordsOf(cmd, args), stdin, a.stdout, a.stderr)
}

// runThere runs arcbox on the engine's host, by ssh. Its exit code is ours.
func (a *app) runThere(ctx context.Context, words []string, stdin io.Reader, stdout, stderr io.Writer) error {
	d, err := a.sshThere()
	if err != nil {
		return err
	}
	program, err := sshProgram()
	if err != nil {
		return err
	}
	if _, isFile := stdin.(*os.File); stdin != nil && !isFile { // a read of it can't be called off
		until, done := readerUntil(ctx, stdin)
		defer done()
		stdin = until
	}
	said := &lastBytes{}
	c := exec.CommandContext(ctx, program, d.line(words...)...) //nolint:gosec // the words are quoted
	c.Stdin, c.Stdout, c.Stderr = stdin, stdout, io.MultiWriter(stderr, said)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = sshEnd // a master of ssh's that stays behind holds on to stderr
	err = c.Run()
	ended, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !exited:
		return fmt.Errorf("run %s: %w", program, err)
	case ended.ExitCode() == 127, ended.ExitCode() == 255, ended.ExitCode() < 0: // ssh's own, and a shell's
		return d.failed("", ended.ExitCode(), "")
	}
	return exitWith(ended.ExitCode()) // arcbox there has said why
}

// answerThere is what arcbox on the engine's host prints, at most max bytes of it.
// What it says beside that is told only where told is set.
func (a *app) answerThere(ctx context.Context, told io.Writer, limit int, words ...string) ([]byte, error) {
	out := &bytes.Buffer{}
	err := a.runThere(ctx, words, nil, &boundedWriter{out, limit}, told)
	return out.Bytes(), err
}

// boundedWriter refuses more than was to be expected.
type boundedWriter struct {
	to   io.Writer
	left int
}

// Write implements io.Writer.
func (w *boundedWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("more was said than arcbox says")
	}
	return w.to.Write(p)
}

// sshThere is the way to the engine's host, where ssh leads there.
func (a *app) sshThere() (sshDoor, error) {
	p, err := a.choice()
	if err != nil {
		return sshDoor{}, err
	}
	at, err := parseEndpoint(p.remote.Endpoint)
	if err != nil {
		return sshDoor{}, err
	}
	if at.scheme != "ssh" {
		f := p.elsewhere()
		f.hint += "\narcbox --context " + p.name + " create NAME --image sha256:…, an image that is there"
		return sshDoor{}, f
	}
	d := sshDoor{at: at, text: p.remote.Endpoint, silent: a.silent, flags: []string{"--" + hangupFlag}}
	if a.noAutostart {
		d.flags = append(d.flags, "--no-autostart")
	}
	return d, nil
}

func sshProgram() (string, error) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return "", &failure{code: exitGeneral, kind: "lacking", message: "ssh is not installed here", hint: "apt-get install openssh-client", cause: err}
	}
	return program, nil
}

// wordsOf is a command line anew: the command, the flags that were given but those
// that say which engine it is, and the arguments.
func wordsOf(cmd *cobra.Command, args []string) []string {
	words := strings.Fields(cmd.CommandPath())[1:]
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if many, ok := f.Value.(pflag.SliceValue); ok {
			for _, value := range many.GetSlice() {
				words = append(words, "--"+f.Name+"="+value)
			}
			return
		}
		if f.Name != "context" && f.Name != "home" && f.Name != "no-autostart" {
			words = append(words, "--"+f.Name+"="+f.Value.String())
		}
	})
	return append(append(words, "--"), args...)
}

// hangup is over when nobody reads what this command says, if it was asked to see.
func (a *app) hangup(ctx context.Context, cancel func(error)) {
	out, isFile := a.stdout.(*os.File)
	if !a.untilHangup || !isFile {
		return
	}
	go func() {
		awaitHangup(int(out.Fd()))
		if ctx.Err() == nil {
			cancel(errInterrupted)
		}
	}()
}

// notHere refuses what names a file of this host for an engine elsewhere.
func (p *choice) notHere(field, path, hint string) error {
	return &failure{
		code: exitConflict, kind: "conflict", field: field, hint: hint,
		message: fmt.Sprintf("%q is a file of this host, and the engine of the context %q is another's", shorten(path, 200), p.name),
	}
}
