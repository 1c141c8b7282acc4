package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// The exit codes that this side decides; the others come with the refusal.
const (
	exitGeneral     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitTimeout     = 5
	exitNoEngine    = 6
	exitUnsafe      = 7
	exitTimeLimit   = 124 // of exec
	exitExecFault   = 125 // of exec
	exitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// failure is an error with all that a person needs: what went wrong, what to
// try next, and the exit code. Without a message it only sets the code.
type failure struct {
	code    int
	kind    string // names the code in JSON
	message string
	hint    string
	field   string
	machine string
	state   string
	cause   error // what it makes readable, nil where it began here
	passed  bool  // the code is the program's in the guest, and not to be changed
}

// Error implements error.
func (f *failure) Error() string { return f.message }

// Unwrap gives the error that it makes readable.
func (f *failure) Unwrap() error { return f.cause }

// exitWith ends the command with a code that needs no words.
func exitWith(code int) error { return &failure{code: code} }

// badInput refuses a flag or an argument.
func badInput(field, format string, args ...any) *failure {
	return &failure{code: exitUsage, kind: "usage", field: field, message: fmt.Sprintf(format, args...)}
}

// usage turns an error of cobra's into ours. It names the help of the command
// that was meant.
func usage(cmd *cobra.Command, err error) error {
	f, ok := errors.AsType[*failure](err)
	if bad, isValue := errors.AsType[*pflag.InvalidValueError](err); isValue {
		f, ok = badValue(bad), true
	}
	if !ok {
		f = &failure{code: exitUsage, kind: "usage", message: strings.TrimSpace(err.Error())}
	}
	if f.hint == "" && f.code == exitUsage {
		f.hint = helpHint(cmd)
	}
	return f
}

// withNext gives an error of a verb a next command to try where whoever made it knew
// none: arcbox doctor looks for what fails on this host, and all else is said by the
// command's help. What a program in a guest ended with is left as it is.
func withNext(cmd *cobra.Command, err error) error {
	f := *understood(err)
	switch {
	case f.hint != "" || f.message == "" || f.passed || f.code == exitInterrupted:
	case f.code == exitGeneral:
		f.hint = "arcbox doctor"
	default:
		f.hint = helpHint(cmd)
	}
	return &f
}

// badValue names the flag, what it was given, and what it takes.
func badValue(bad *pflag.InvalidValueError) *failure {
	name, why := bad.GetFlag().Name, bad.Unwrap().Error()
	if said, own := strings.CutPrefix(why, fmt.Sprintf("%q: ", bad.GetValue())); own {
		why = said
	} else if takes, known := kinds[bad.GetFlag().Value.Type()]; known {
		why = takes // strconv's words are for programmers
	}
	return badInput(name, "--%s %q: %s", name, shorten(bad.GetValue(), 80), why)
}

// kinds says what the values of pflag's own types are.
var kinds = map[string]string{
	"int": "a whole number is needed", "uint": "a whole number from 0 up is needed",
	"uint32": "a whole number from 0 up is needed", "int64": "a whole number is needed",
	"uint64": "a whole number from 0 up is needed", "bool": "true or false",
}

// oneOf refuses flags that exclude each other, in words.
func oneOf(cmd *cobra.Command, flags ...string) {
	cmd.MarkFlagsMutuallyExclusive(flags...) // for completion; the check here goes first
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		var given []string
		for _, name := range flags {
			if cmd.Flags().Changed(name) {
				given = append(given, "--"+name)
			}
		}
		if len(given) > 1 {
			return badInput(strings.TrimPrefix(given[1], "--"), "%s: one of them at a time", strings.Join(given, " and "))
		}
		if before == nil {
			return nil
		}
		return before(cmd, args)
	}
}

func helpHint(cmd *cobra.Command) string {
	root, below, _ := strings.Cut(cmd.CommandPath(), " ")
	return strings.TrimSpace(root + " help " + below)
}

// understood turns any error into a failure.
func understood(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if r, ok := errors.AsType[*client.RefusedError](err); ok {
		return &failure{
			code: r.Code.ExitCode(), kind: codeName(r.Code), message: r.Message, hint: r.Hint,
			field: r.Field, machine: r.Machine, state: r.State,
		}
	}
	switch {
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted}
	case errors.Is(err, client.ErrShut):
		return &failure{code: exitNoEngine, kind: "unavailable", message: err.Error(), hint: "arcbox engine invite, on the engine's host, then arcbox engine join here"}
	case errors.Is(err, client.ErrAway):
		return &failure{code: exitNoEngine, kind: "unavailable", message: err.Error(), hint: "arcbox engine start"}
	case errors.Is(err, client.ErrNoEngine), errors.Is(err, client.ErrMute), errors.Is(err, client.ErrDisconnected):
		return &failure{code: exitNoEngine, kind: "unavailable", message: err.Error(), hint: "arcbox engine status"}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: exitTimeout, kind: "timeout", message: err.Error(), hint: "arcbox engine status"}
	}
	return &failure{code: exitGeneral, kind: "failed", message: err.Error()}
}

// codeName is a refusal's code as JSON has it: not-found, conflict, …
func codeName(c wire.Code) string {
	name := strings.TrimPrefix(c.String(), "CODE_")
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// fail prints an error and tells the exit code.
func (a *app) fail(err error) int {
	if err == nil {
		return 0
	}
	f := understood(err)
	if a.exec && f.message != "" && !f.passed {
		f.code = exitExecFault
	}
	if f.message != "" {
		a.printFailure(f)
	}
	return f.code
}

func (a *app) printFailure(f *failure) {
	if a.json() {
		var out struct {
			Error failureJSON `json:"error"`
		}
		out.Error = failureJSON{f.kind, f.code, f.message, f.hint, f.field, f.machine, f.state}
		_ = writeJSON(a.stderr, out, "") // strings and a number can't fail
		return
	}
	fmt.Fprintf(a.stderr, "arcbox: %s\n", printableLines(f.message))
	for hint := range strings.Lines(f.hint) {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(strings.TrimSpace(hint)))
	}
}

type failureJSON struct {
	Code    string `json:"code"`
	Exit    int    `json:"exit"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Field   string `json:"field,omitempty"`
	Machine string `json:"machine,omitempty"`
	State   string `json:"state,omitempty"`
}

// note tells a person something beside the answer.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintln(a.stderr, printable(fmt.Sprintf(format, args...)))
	}
}
