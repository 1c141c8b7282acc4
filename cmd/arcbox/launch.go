package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

const (
	engineName = "arcbox-engine"
	engineVar  = "ARCBOX_ENGINE" // the engine's binary, above any other
	maxLog     = 4 << 20         // bytes; a longer log is put aside before a start
	logTail    = 4 << 10         // bytes shown of a failed start
	logLines   = 12
)

// child is an engine that this command started.
type child struct {
	exited <-chan int // its exit code, once
	log    string
	from   int64 // where in the log it began
}

// launchEngine starts an engine in a session of its own, so that no Ctrl-C of
// this terminal and no end of this command reaches it.
func launchEngine(_ context.Context, h home.Home, flags []string) (*child, error) {
	path, err := findEngine(os.Getenv)
	if err != nil {
		return nil, err
	}
	log, from, err := openLog(h)
	if err != nil {
		hint := otherHome
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			hint = "df -h"
		}
		return nil, &failure{
			code: exitNoEngine, kind: "unavailable", hint: hint, cause: err,
			message: fmt.Sprintf("no engine is running, and none can be started: %v", err),
		}
	}
	defer log.Close() // the engine has its own descriptor
	// Not bound to a context: it outlives this command.
	cmd := exec.Command(path, flags...) //nolint:noctx,gosec // a daemon, found by us
	cmd.Env = homeEnv(os.Environ(), h)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, noProgram(path, err)
	}
	exited := make(chan int, 1)
	go func() {
		_ = cmd.Wait() // the code says it all
		exited <- cmd.ProcessState.ExitCode()
	}()
	return &child{exited: exited, log: h.EngineLog(), from: from}, nil
}

// findEngine finds the engine's binary: the one that was named, the one beside
// this binary (symlinks resolved), the one in PATH.
func findEngine(env func(string) string) (string, error) {
	if named := env(engineVar); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", noProgram(named, err)
		}
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			beside := filepath.Join(filepath.Dir(self), engineName)
			if path, err := exec.LookPath(beside); err == nil {
				return path, nil
			}
		}
	}
	if path, err := exec.LookPath(engineName); err == nil {
		return filepath.Abs(path)
	}
	return "", &failure{
		code: exitNoEngine, kind: "unavailable",
		message: fmt.Sprintf("no engine is running, and %s is neither beside arcbox nor in PATH", engineName),
		hint:    "put " + engineName + " beside arcbox, or set " + engineVar + " to its path",
	}
}

// noProgram says which engine can't be run.
func noProgram(path string, err error) error {
	return &failure{
		code: exitNoEngine, kind: "unavailable", cause: err, hint: "put " + engineName + " beside arcbox, or set " + engineVar + " to its path",
		message: fmt.Sprintf("no engine is running, and %s can't be run: %v", path, rootCause(err)),
	}
}

// homeEnv hands the home down, so that the engine finds the same one.
func homeEnv(env []string, h home.Home) []string {
	if h.Root == "" {
		return env
	}
	out := make([]string, 0, len(env)+1)
	for _, v := range env {
		if !strings.HasPrefix(v, home.Var+"=") {
			out = append(out, v)
		}
	}
	return append(out, home.Var+"="+h.Root)
}

// openLog opens the log to append to, and tells where a new engine's part
// begins. A log that grew long is put aside first; one older log is kept.
func openLog(h home.Home) (*os.File, int64, error) {
	path := h.EngineLog()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, 0, fmt.Errorf("engine log: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, 0, fmt.Errorf("engine log: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("engine log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("engine log: %w", err), f.Close())
	}
	return f, info.Size(), nil
}

// died says why a started engine ended, in its own words.
func (c *child) died(code int) error {
	f := &failure{code: exitNoEngine, kind: "unavailable", hint: "see " + c.log}
	f.message = fmt.Sprintf("the engine ended at once with status %d", code)
	tail := tailOf(c.log, c.from)
	if tail != "" {
		f.message += "; it said:\n" + tail
	}
	if dir := filepath.Dir(c.log); full(dir) { // what it said may be cut off
		f.hint = "df -h " + dir
		if tail == "" {
			f.message += ", and could not say why: no space is left for its log"
		}
	}
	return f
}

// full tells whether a directory has no room for a few lines.
func full(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) < logTail //nolint:gosec,unconvert // a size is positive; its type is the system's
}

// tailOf is the last lines of a file, behind an offset.
func tailOf(path string, from int64) string {
	f, err := os.Open(path) //nolint:gosec // our own log
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		from = max(from, info.Size()-logTail)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, from, logTail))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-logLines):], "\n")
}
