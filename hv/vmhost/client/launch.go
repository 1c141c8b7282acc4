package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// LaunchError is a VM host that ended, or was ended, before its hello.
type LaunchError struct {
	Note *api.Note // of this launch, where it wrote one
	Tail string    // the end of what it printed
	Err  error     // how the process ended
}

// Error is the exit note's sentence where there is one, else what was printed.
func (e *LaunchError) Error() string {
	switch {
	case e.Note != nil && (e.Note.Cause == hv.ExitFailed || e.Note.Cause == hv.ExitCIDTaken):
		return e.Note.Detail
	case e.Note != nil:
		return fmt.Sprintf("vm host ended before its hello: %s: %s", e.Note.Cause, e.Note.Detail)
	case e.Tail != "":
		return fmt.Sprintf("vm host ended before its hello: %v: %s", e.Err, e.Tail)
	}
	return fmt.Sprintf("vm host ended before its hello: %v", e.Err)
}

// Unwrap gives how the process ended, and hv.ErrCIDTaken where that was why.
func (e *LaunchError) Unwrap() []error {
	if e.Note != nil && e.Note.Cause == hv.ExitCIDTaken {
		return []error{e.Err, hv.ErrCIDTaken}
	}
	return []error{e.Err}
}

// Launch spawns a VM host for the spec and waits for its hello until ctx is
// over. Once it is spawned the lock is the VM host's and lock.Held() is false;
// where the spawn fails it stays held. A VM host that dies before its hello is
// a *LaunchError; one that is late is killed and reaped first.
func Launch(ctx context.Context, bin string, lock *Lock, spec hv.Spec) (*Host, api.Hello, error) {
	p := Place{Dir: spec.Dir, RunDir: spec.RunDir}
	if lock.place.Dir != p.Dir || !filepath.IsAbs(p.Dir) || !filepath.IsAbs(p.RunDir) {
		return nil, api.Hello{}, fmt.Errorf("launch: spec dir %q and run_dir %q: must be absolute, and the lock's (%q)", p.Dir, p.RunDir, lock.place.Dir)
	}
	if _, err := api.SocketPath(p.RunDir); err != nil {
		return nil, api.Hello{}, fmt.Errorf("launch: %w", err)
	}
	cmd, err := spawn(bin, lock, spec)
	if err != nil {
		return nil, api.Hello{}, fmt.Errorf("launch: %w", err)
	}
	dead := make(chan struct{})
	var died error
	go func() { // reaps it, whenever that is
		died = cmd.Wait()
		close(dead)
	}()
	h := Connect(p)
	hello, err := h.firstHello(ctx, dead)
	if err == nil && hello.Launch == spec.Launch {
		return h, hello, nil
	}
	if err == nil {
		err = fmt.Errorf("launch %s answers", hello.Launch)
	}
	select {
	case <-dead: // by itself
	default:
		_ = cmd.Process.Kill()
		<-dead
		died = fmt.Errorf("killed, no hello: %w", err)
	}
	return nil, api.Hello{}, launchError(p, spec.Launch, died)
}

// firstHello asks until somebody listens and answers, or ctx is over, or the
// process is dead.
func (h *Host) firstHello(ctx context.Context, dead <-chan struct{}) (api.Hello, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		hello, err := h.hello(ctx)
		if err == nil || !errors.Is(err, ErrGone) {
			return hello, err
		}
		select {
		case <-dead:
			return api.Hello{}, err
		case <-ctx.Done():
			return api.Hello{}, errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// spawn starts the process and gives the lock to it.
func spawn(bin string, lock *Lock, spec hv.Spec) (*exec.Cmd, error) {
	input, err := api.EncodeSpec(spec)
	if err != nil {
		return nil, err
	}
	return Spawn(bin, []string{"arcbox-vmhost", "machine=" + spec.Name}, lock, input)
}

// Spawn starts a process that outlives this one and gives the lock to it
// (package hv/process). What it prints goes to api.OutFile and api.ErrFile in the
// lock's directory.
func Spawn(bin string, argv []string, lock *Lock, input []byte) (*exec.Cmd, error) {
	var files [2]*os.File
	for i, name := range []string{api.OutFile, api.ErrFile} {
		f, err := os.OpenFile(filepath.Join(lock.place.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		files[i] = f
	}
	lock.mu.Lock()
	defer lock.mu.Unlock()
	if lock.f == nil {
		return nil, errors.New("the lock is not held")
	}
	cmd := &exec.Cmd{
		Path:        bin,
		Args:        argv,
		Env:         process.ScrubEnv(os.Environ()),
		Dir:         "/",
		Stdin:       bytes.NewReader(input),
		Stdout:      files[0],
		Stderr:      files[1],
		ExtraFiles:  []*os.File{lock.f},
		SysProcAttr: &unix.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_ = lock.f.Close()
	lock.f = nil
	return cmd, nil
}

func launchError(p Place, launch string, died error) error {
	if died == nil {
		died = errors.New("exit status 0")
	}
	e := &LaunchError{Err: died}
	if note, err := ReadNote(p); err == nil && note != nil && note.Launch == launch {
		e.Note = note
	}
	if tail, err := Tail(p, api.ErrFile, api.MaxText); err == nil {
		e.Tail = strings.TrimSpace(tail)
	}
	return e
}
