package client

import (
	"errors"
	"fmt"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var (
	// ErrNoEngine means that nobody listens on the socket.
	ErrNoEngine = errors.New("client: no engine is running")
	// ErrMute means that somebody listens on the socket, and says nothing.
	ErrMute = errors.New("client: the engine does not answer")
	// ErrDisconnected means that the connection ended before the reply. Whether
	// the request was carried out is not known.
	ErrDisconnected = errors.New("client: the connection to the engine was lost")
	// ErrAway is an ErrDisconnected after which no engine answered in time.
	ErrAway = fmt.Errorf("%w, and none answered", ErrDisconnected)
	// ErrShut means that an engine of another host lets this client in no more.
	ErrShut = errors.New("client: the engine does not let this client in")
)

// RefusedError is the engine's typed "no".
type RefusedError struct {
	Code    wire.Code
	Message string
	Hint    string // the next command to try
	Field   string // of the request, for bad input
	Machine string
	State   string // the machine's, where that is the reason
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

func refusedError(r *wire.Refused) *RefusedError {
	return &RefusedError{Code: r.GetCode(), Message: r.GetMessage(), Hint: r.GetHint(), Field: r.GetField(), Machine: r.GetMachine(), State: r.GetState()}
}
