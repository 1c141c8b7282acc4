package agent

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of one command line; the kernel allows 128 KiB a string.
const (
	maxArgs   = 4096
	maxEnv    = 4096
	maxString = 128<<10 - 1

	// defaultTerm is for clients that don't say what their terminal is.
	defaultTerm = "xterm"
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// checkStart finds what is wrong with a client's wish, before anything is
// looked up. Each fault names the field, and what is allowed.
func checkStart(s *wire.ExecStart) error {
	if s == nil {
		return fmt.Errorf("start: missing, want it as the first message")
	}
	if n := len(s.GetArgv()); n == 0 && !s.GetLogin() || n > maxArgs {
		return fmt.Errorf("argv: %d strings, want 1 to %d", n, maxArgs)
	}
	if len(s.GetArgv()) > 0 && s.GetArgv()[0] == "" {
		return fmt.Errorf("argv[0]: empty, want a program")
	}
	for i, arg := range s.GetArgv() {
		if err := checkString(arg); err != nil {
			return fmt.Errorf("argv[%d]: %w", i, err)
		}
	}
	if n := len(s.GetEnv()); n > maxEnv {
		return fmt.Errorf("env: %d variables, at most %d", n, maxEnv)
	}
	for name, value := range s.GetEnv() {
		if name == "" || strings.Contains(name, "=") {
			return fmt.Errorf("env: name %.64q, want one that is not empty and has no =", name)
		}
		if err := checkString(name + "=" + value); err != nil {
			return fmt.Errorf("env %.64q: %w", name, err)
		}
	}
	if dir := s.GetDir(); dir != "" && !filepath.IsAbs(dir) {
		return fmt.Errorf("dir: %.64q, want an absolute path", dir)
	}
	if err := checkString(s.GetDir()); err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	if err := checkString(s.GetUser()); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if t := s.GetTimeoutNanos(); t < 0 {
		return fmt.Errorf("timeout: %v, want 0 (none) or more", time.Duration(t))
	}
	if err := checkSize(s.GetTerminal()); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

func checkSize(t *wire.TerminalSize) error {
	if t.GetRows() > wire.MaxSide || t.GetColumns() > wire.MaxSide {
		return fmt.Errorf("%d rows and %d columns, at most %d of each", t.GetRows(), t.GetColumns(), wire.MaxSide)
	}
	return nil
}

func checkString(s string) error {
	if len(s) > maxString {
		return fmt.Errorf("%d bytes, at most %d", len(s), maxString)
	}
	if strings.ContainsRune(s, 0) {
		return fmt.Errorf("has a NUL byte")
	}
	return nil
}

// environment is what a login of the account would set, and over it what was
// asked for.
func environment(a account, s *wire.ExecStart) []string {
	env := map[string]string{
		"PATH":    defaultPath,
		"HOME":    a.home,
		"USER":    a.name,
		"LOGNAME": a.name,
		"SHELL":   a.shell,
	}
	if s.GetTerminal() != nil {
		env["TERM"] = defaultTerm
	}
	maps.Copy(env, s.GetEnv())
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// login is the command line of a user's login shell: argv[0] begins with a
// hyphen, by which shells know that they are one. Words that it is to run are
// quoted, so that it takes them as they are.
func login(shell string, words []string) []string {
	argv := []string{"-" + filepath.Base(shell)}
	if len(words) == 0 {
		return argv
	}
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return append(argv, "-c", strings.Join(quoted, " "))
}
