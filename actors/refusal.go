package actors

import (
	"errors"
	"fmt"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Refusal is a typed "no": nothing was changed. It reaches the CLI as it is,
// and decides its exit code.
type Refusal struct {
	Code    wire.Code
	Message string
	Hint    string // the next command to try
	Field   string // of the request
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(c wire.Code, hint, format string, args ...any) *Refusal {
	return &Refusal{Code: c, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func badInput(field, format string, args ...any) *Refusal {
	return &Refusal{Code: wire.Code_CODE_BAD_INPUT, Message: fmt.Sprintf(format, args...), Field: field, Hint: "arcbox create --help"}
}

// hinted gives a refusal another next command to try.
func hinted(r *Refusal, hint string) *Refusal {
	r.Hint = hint
	return r
}

func notFound(name string) *Refusal {
	return refuse(wire.Code_CODE_NOT_FOUND, "arcbox list", "there is no machine %q", name)
}

// versionsHint is for what this engine can't do and another may: it shows which one
// this is.
const versionsHint = "arcbox version"

// refused puts an error on the wire: a Refusal as it is, anything else as an
// internal error.
func refused(err error, m *fsm.Machine) *wire.Refused {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		r = refuse(wire.Code_CODE_INTERNAL, "arcbox engine status", "%v", err)
	}
	out := &wire.Refused{Code: r.Code, Message: r.Message, Hint: r.Hint, Field: r.Field}
	if m != nil {
		out.Machine, out.State = m.Name, string(m.State)
	}
	return out
}
