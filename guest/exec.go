package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// ErrNotRun: the program was not found (status 127) or can't be run (126).
var ErrNotRun = errors.New("program was not run")

// ExecSpec is a program to run in the guest.
type ExecSpec struct {
	Argv    []string
	Env     map[string]string // over what a login of the user sets
	Dir     string            // "" = the user's home
	User    string            // name, uid, name:group, uid:gid; "" = root
	Timeout time.Duration     // 0 = none; past it the process group is killed
	// Stdin is passed on to its end; nil = none. A Read that is under way when
	// the program ends is left behind.
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil = dropped
	// Signals go to the program's process group; those that Linux does not
	// have are dropped. nil = none.
	Signals <-chan os.Signal
	// Terminal gives the program one; all that it prints is then Stdout, and
	// INT, QUIT and TSTP go to the foreground group there. When ctx is over it
	// is hung up, and killed only where that does not end it. nil = none.
	Terminal *Terminal
	// Login runs the user's login shell: by itself where Argv is empty, else it
	// runs Argv.
	Login bool
}

// Terminal is a program's terminal in the guest.
type Terminal struct {
	Size    TerminalSize
	Resizes <-chan TerminalSize // nil = it keeps its size
}

// TerminalSize is what a program formats its output for; 0 = unknown.
type TerminalSize struct{ Rows, Columns uint16 }

func (s TerminalSize) wire() *wire.TerminalSize {
	return &wire.TerminalSize{Rows: uint32(s.Rows), Columns: uint32(s.Columns)}
}

// ExecResult is how a program ended.
type ExecResult struct {
	Status   int // exit status, where Signal is 0
	Signal   int // Linux's number of the signal that ended it
	TimedOut bool
}

// Exec runs a program and carries its streams until it has ended. When ctx is
// over, or a stream fails, the program's process group is killed.
func (c *Client) Exec(ctx context.Context, spec ExecSpec) (ExecResult, error) {
	start, err := c.start(spec)
	if err != nil {
		return ExecResult{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := c.agent.Exec(ctx, upTo(maxStream))
	if err != nil {
		return ExecResult{}, callError(ctx, "exec", err)
	}
	x := &execution{ctx: ctx, cancel: cancel, stream: stream, spec: spec,
		credit: wire.StdinWindow, credited: make(chan struct{}, 1)}
	x.beside.dial = c.dial
	// A failed send says only io.EOF: why, comes with receive.
	if err := x.send(&wire.ExecRequest{Msg: &wire.ExecRequest_Start{Start: start}}); err != nil && !errors.Is(err, io.EOF) {
		return ExecResult{}, callError(ctx, "exec", err)
	}
	go x.sendStdin()
	go x.sendSignals()
	done, err := x.receive()
	if err != nil {
		return ExecResult{}, err
	}
	if done.GetError() != "" {
		return ExecResult{Status: int(done.GetErrorStatus())}, fmt.Errorf("%w: %q", ErrNotRun, short(done.GetError()))
	}
	return ExecResult{Status: int(done.GetStatus()), Signal: int(done.GetSignal()), TimedOut: done.GetTimedOut()}, nil
}

// start is what the agent is asked for, all of which it must know.
func (c *Client) start(spec ExecSpec) (*wire.ExecStart, error) {
	start := &wire.ExecStart{
		Argv: spec.Argv, Env: spec.Env, Dir: spec.Dir, User: spec.User, TimeoutNanos: int64(spec.Timeout), Login: spec.Login,
	}
	texts := append([]string{spec.Dir, spec.User}, spec.Argv...)
	for name, value := range spec.Env {
		texts = append(texts, name+"="+value)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return nil, fmt.Errorf("guest agent: exec: %q is not UTF-8, as what is asked for must be", short(text))
		}
	}
	if spec.Login {
		if err := c.need(wire.AbilityLogin); err != nil {
			return nil, err
		}
	}
	if spec.Terminal != nil {
		start.Terminal = spec.Terminal.Size.wire()
		return start, c.need(wire.AbilityTerminal)
	}
	return start, nil
}

// execution is one Exec under way.
type execution struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	stream wire.Agent_ExecClient
	spec   ExecSpec

	sending  sync.Mutex // apart from counting: a send may wait for the agent
	counting sync.Mutex
	credit   int64         // bytes of stdin that may be sent
	credited chan struct{} // there is more of it

	beside beside
}

func (x *execution) send(req *wire.ExecRequest) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.stream.Send(req)
}

// receive takes the agent's messages until the last.
func (x *execution) receive() (*wire.ExecDone, error) {
	for {
		reply, err := x.stream.Recv()
		if err != nil {
			return nil, callError(x.ctx, "exec", err)
		}
		switch msg := reply.GetMsg().(type) {
		case *wire.ExecReply_Started:
			x.beside.key = msg.Started.GetBesideKey()
		case *wire.ExecReply_Stdout:
			err = x.takeStdout(msg.Stdout)
		case *wire.ExecReply_StdoutBeside:
			err = x.turnBeside()
		case *wire.ExecReply_Stderr:
			err = x.write(x.spec.Stderr, msg.Stderr)
		case *wire.ExecReply_StdinTaken:
			err = x.giveCredit(msg.StdinTaken)
		case *wire.ExecReply_Done:
			if err = errors.Join(checkDone(msg.Done), x.endBeside(msg.Done.GetStdoutBeside())); err == nil {
				return msg.Done, nil
			}
		default:
			err = fmt.Errorf("%w: unknown message", ErrProtocol)
		}
		if err != nil {
			x.cancel(err)
			return nil, fmt.Errorf("guest agent: exec: %w", err)
		}
	}
}

// checkDone keeps a hostile guest from statuses that mean something else to
// whoever passes them on.
func checkDone(d *wire.ExecDone) error {
	if d.GetError() != "" && d.GetErrorStatus() != 126 && d.GetErrorStatus() != 127 {
		return fmt.Errorf("%w: error status %d, want 126 or 127", ErrProtocol, d.GetErrorStatus())
	}
	return checkEnd(d)
}

// checkEnd is of any program's end.
func checkEnd(d interface {
	GetStatus() int32
	GetSignal() int32
}) error {
	switch {
	case d.GetStatus() < 0 || d.GetStatus() > 255:
		return fmt.Errorf("%w: status %d, want 0 to 255", ErrProtocol, d.GetStatus())
	case d.GetSignal() < 0 || d.GetSignal() > 64:
		return fmt.Errorf("%w: signal %d, want 0 to 64", ErrProtocol, d.GetSignal())
	}
	return nil
}

func (x *execution) write(w io.Writer, b []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(b)
	return err
}

func (x *execution) giveCredit(n int64) error {
	x.counting.Lock()
	defer x.counting.Unlock()
	if n < 0 || n > wire.StdinWindow-x.credit {
		return fmt.Errorf("%w: stdin_taken %d, more than was sent", ErrProtocol, n)
	}
	x.credit += n
	select {
	case x.credited <- struct{}{}:
	default: // told already
	}
	return nil
}

// takeCredit waits until some stdin may be sent, and says how much of want.
func (x *execution) takeCredit(want int) (int, bool) {
	for {
		x.counting.Lock()
		n := min(x.credit, int64(want))
		x.credit -= n
		x.counting.Unlock()
		if n > 0 {
			return int(n), true
		}
		select {
		case <-x.credited:
		case <-x.ctx.Done():
			return 0, false
		}
	}
}

// sendStdin passes stdin on. A stdin that fails is like a client that goes:
// the program must not take half of its input for all of it.
func (x *execution) sendStdin() {
	buf := make([]byte, wire.Chunk)
	for x.spec.Stdin != nil {
		n, err := x.spec.Stdin.Read(buf)
		if !x.sendAll(buf[:n]) {
			return
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			x.cancel(fmt.Errorf("stdin: %w", err))
			return
		}
	}
	x.send(&wire.ExecRequest{Msg: &wire.ExecRequest_CloseStdin{CloseStdin: true}}) //nolint:errcheck // receive tells
}

func (x *execution) sendAll(b []byte) bool {
	for len(b) > 0 {
		n, ok := x.takeCredit(len(b))
		if !ok || x.send(&wire.ExecRequest{Msg: &wire.ExecRequest_Stdin{Stdin: b[:n]}}) != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// sendSignals passes on what is to overtake stdin: signals and resizes.
func (x *execution) sendSignals() {
	var resizes <-chan TerminalSize
	if x.spec.Terminal != nil {
		resizes = x.spec.Terminal.Resizes
	}
	for {
		select {
		case size := <-resizes:
			x.send(&wire.ExecRequest{Msg: &wire.ExecRequest_Resize{Resize: size.wire()}}) //nolint:errcheck // receive tells
		case sig, ok := <-x.spec.Signals:
			if !ok {
				return
			}
			if n := linuxSignal(sig); n != 0 {
				x.send(&wire.ExecRequest{Msg: &wire.ExecRequest_Signal{Signal: n}}) //nolint:errcheck // receive tells
			}
		case <-x.ctx.Done():
			return
		}
	}
}

// linuxSignal is the guest's number of a host's signal; they differ on macOS.
func linuxSignal(sig os.Signal) int32 {
	return map[os.Signal]int32{
		syscall.SIGHUP: 1, syscall.SIGINT: 2, syscall.SIGQUIT: 3, syscall.SIGABRT: 6, syscall.SIGKILL: 9,
		syscall.SIGUSR1: 10, syscall.SIGUSR2: 12, syscall.SIGALRM: 14, syscall.SIGTERM: 15, syscall.SIGCONT: 18,
		syscall.SIGSTOP: 19, syscall.SIGTSTP: 20, syscall.SIGTTIN: 21, syscall.SIGTTOU: 22, syscall.SIGWINCH: 28,
	}[sig]
}
