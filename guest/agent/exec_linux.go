package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// execution is one exec while it runs. Its messages to the client come from
// several goroutines: send takes its turn.
type execution struct {
	*program
	stream wire.Agent_ExecServer
	stdin  *stdinQueue

	sending sync.Mutex
}

// Exec runs a program.
func (a *Agent) Exec(stream wire.Agent_ExecServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if err := checkStart(start); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	leave, ok := a.enter()
	if !ok {
		return status.Errorf(codes.ResourceExhausted, "%d programs run through the agent already", maxExecs)
	}
	defer leave()
	p, err := prepare(start)
	if err != nil {
		return done(stream, err)
	}
	ran, err := a.launch(p, start.GetTerminal())
	if err != nil {
		return done(stream, err)
	}
	defer ran.io.close()
	x := &execution{program: ran, stream: stream, stdin: newStdinQueue()}
	return x.run(time.Duration(start.GetTimeoutNanos()))
}

// done ends an exec that ran nothing.
func done(stream wire.Agent_ExecServer, err error) error {
	if errors.Is(err, errStreams) {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	var not *notRunError
	if !errors.As(err, &not) {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return stream.Send(&wire.ExecReply{Msg: &wire.ExecReply_Done{Done: &wire.ExecDone{
		Error: not.Error(), ErrorStatus: not.status,
	}}})
}

// run sees a program through. When it returns, nothing is left of it but
// children that it let go, and, where the client has gone, the group's end
// that the kernel owes.
func (x *execution) run(limit time.Duration) error {
	ctx, cancel := context.WithCancelCause(x.stream.Context())
	defer cancel(nil)
	key, arrived, forget := x.agent.outlets.want()
	defer forget()
	out := &outlet{x: x, ctx: ctx, cancel: cancel, arrived: arrived}
	started := &wire.ExecStarted{Pid: int32(x.child.pid), BesideKey: key[:]}
	if err := x.send(&wire.ExecReply{Msg: &wire.ExecReply_Started{Started: started}}); err != nil {
		cancel(err)
	}
	go x.receive(cancel)
	var feeding, reading sync.WaitGroup
	feeding.Go(func() { x.feed() })
	reading.Go(func() {
		defer out.end()
		pump(x.io.stdout, out.send)
	})
	if x.io.stderr != nil {
		reading.Go(func() {
			pump(x.io.stderr, func(b []byte) error {
				return x.sendChunks(b, func(b []byte) *wire.ExecReply {
					return &wire.ExecReply{Msg: &wire.ExecReply_Stderr{Stderr: b}}
				})
			})
		})
	}
	timedOut := x.wait(ctx, limit)
	x.io.linger()
	defer x.stdin.close()
	if err := drained(ctx, &reading); err != nil {
		return err // the goroutines end with the stream and the files
	}
	x.stdin.close()
	x.io.stdin.Close() // ends a write under way
	feeding.Wait()
	end := result(x.child.status, timedOut)
	end.StdoutBeside = out.sent
	return x.send(&wire.ExecReply{Msg: &wire.ExecReply_Done{Done: end}})
}

// receive takes the client's messages. It never waits for the program, so a
// signal is never stuck behind stdin.
func (x *execution) receive(cancel context.CancelCauseFunc) {
	for {
		req, err := x.stream.Recv()
		if errors.Is(err, io.EOF) {
			x.stdin.finish()
			return
		}
		if err == nil {
			err = x.take(req)
		}
		if err != nil {
			cancel(err)
			return
		}
	}
}

func (x *execution) take(req *wire.ExecRequest) error {
	switch msg := req.GetMsg().(type) {
	case *wire.ExecRequest_Stdin:
		if n := len(msg.Stdin); n > wire.MaxChunk {
			return status.Errorf(codes.InvalidArgument, "stdin: %d bytes in a message, at most %d", n, wire.MaxChunk)
		}
		if !x.stdin.put(msg.Stdin) {
			return status.Errorf(codes.InvalidArgument, "stdin: more than %d bytes under way", wire.StdinWindow)
		}
	case *wire.ExecRequest_CloseStdin:
		x.stdin.finish()
	case *wire.ExecRequest_Signal:
		if msg.Signal < 1 || msg.Signal > 64 {
			return status.Errorf(codes.InvalidArgument, "signal: %d, want 1 to 64", msg.Signal)
		}
		if sig := unix.Signal(msg.Signal); !x.io.interrupt(sig) {
			x.signal(sig)
		}
	case *wire.ExecRequest_Resize:
		return x.resize(msg.Resize)
	default:
		return status.Error(codes.InvalidArgument, "message: want stdin, close_stdin, signal or resize")
	}
	return nil
}

func (x *execution) resize(size *wire.TerminalSize) error {
	if !x.io.terminal {
		return status.Error(codes.InvalidArgument, "resize: the program has no terminal")
	}
	if err := checkSize(size); err != nil {
		return status.Errorf(codes.InvalidArgument, "resize: %v", err)
	}
	if err := x.io.resize(size); err != nil && !errors.Is(err, os.ErrClosed) {
		x.agent.opts.Log.Warn("exec", "resize", err)
	}
	return nil
}

// feed passes stdin on, and gives the client back what it took. Once the
// program has closed its end the rest is taken all the same.
func (x *execution) feed() {
	broken, line := false, false
	for {
		b := x.stdin.take()
		if b == nil {
			x.io.endInput(line)
			return
		}
		line = b[len(b)-1] != '\n'
		if !broken {
			_, err := x.io.stdin.Write(b)
			broken = err != nil
		}
		x.stdin.passed(b)
		if x.send(&wire.ExecReply{Msg: &wire.ExecReply_StdinTaken{StdinTaken: int64(len(b))}}) != nil {
			return
		}
	}
}

func (x *execution) send(reply *wire.ExecReply) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.stream.Send(reply)
}

// sendChunks sends output in messages that fit gRPC's buffers.
func (x *execution) sendChunks(b []byte, message func([]byte) *wire.ExecReply) error {
	for chunk := range slices.Chunk(b, wire.Chunk) {
		if err := x.send(message(chunk)); err != nil {
			return err
		}
	}
	return nil
}

func result(ws unix.WaitStatus, timedOut bool) *wire.ExecDone {
	d := &wire.ExecDone{TimedOut: timedOut}
	if ws.Signaled() {
		d.Signal = int32(ws.Signal())
	} else {
		d.Status = int32(ws.ExitStatus())
	}
	return d
}
