package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// lingerTime is how long output is still awaited from children that a program
// left behind.
const lingerTime = 200 * time.Millisecond

// execution is one exec while it runs. Its messages to the client come from
// several goroutines: send takes its turn.
type execution struct {
	agent  *Agent
	stream wire.Agent_ExecServer
	child  *child
	stdin  *stdinQueue
	pipes  pipes

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
	select {
	case a.execs <- struct{}{}:
		defer func() { <-a.execs }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d programs run through the agent already", maxExecs)
	}
	p, err := prepare(start)
	if err != nil {
		return done(stream, err)
	}
	x := &execution{agent: a, stream: stream, stdin: newStdinQueue()}
	if x.pipes, err = newPipes(); err != nil {
		return status.Errorf(codes.ResourceExhausted, "pipes: %v", err)
	}
	defer x.pipes.close()
	x.child, err = a.children.start(p.path, start.GetArgv(), p.attr(x.pipes))
	x.pipes.closeTheirs()
	if err != nil {
		return done(stream, notRun(p.path, err))
	}
	return x.run(time.Duration(start.GetTimeoutNanos()))
}

// done ends an exec that ran nothing.
func done(stream wire.Agent_ExecServer, err error) error {
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
	started := &wire.ExecStarted{Pid: int32(x.child.pid)}
	if err := x.send(&wire.ExecReply{Msg: &wire.ExecReply_Started{Started: started}}); err != nil {
		cancel(err)
	}
	go x.receive(cancel)
	var feeding, reading sync.WaitGroup
	feeding.Go(func() { x.feed() })
	reading.Go(func() {
		x.pump(x.pipes.stdout, func(b []byte) *wire.ExecReply {
			return &wire.ExecReply{Msg: &wire.ExecReply_Stdout{Stdout: b}}
		})
	})
	reading.Go(func() {
		x.pump(x.pipes.stderr, func(b []byte) *wire.ExecReply {
			return &wire.ExecReply{Msg: &wire.ExecReply_Stderr{Stderr: b}}
		})
	})
	timedOut := x.wait(ctx, limit)
	x.pipes.linger()
	defer x.stdin.close()
	if err := x.drained(ctx, &reading); err != nil {
		return err // the goroutines end with the stream and the pipes
	}
	x.stdin.close()
	x.pipes.stdin.Close() // ends a write under way
	feeding.Wait()
	return x.send(&wire.ExecReply{Msg: &wire.ExecReply_Done{Done: result(x.child.status, timedOut)}})
}

// drained waits for the end of the output, while the client is there.
func (x *execution) drained(ctx context.Context, reading *sync.WaitGroup) error {
	all := make(chan struct{})
	go func() {
		reading.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// wait awaits the program's end, and hastens it where the time limit is over
// or the client gone.
func (x *execution) wait(ctx context.Context, limit time.Duration) (timedOut bool) {
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-x.child.ended:
			return timedOut
		case <-over:
			timedOut = true
			x.signal(unix.SIGKILL)
		case <-ctx.Done():
			x.signal(unix.SIGKILL)
			return timedOut
		}
	}
}

// signal is for a program that may have ended meanwhile: then it is nothing.
func (x *execution) signal(sig unix.Signal) {
	if err := x.agent.children.signal(x.child, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		x.agent.opts.Log.Warn("exec", "err", err)
	}
}

// receive takes the client's messages. It never waits for the program, so a
// signal is never stuck behind stdin.
func (x *execution) receive(cancel context.CancelCauseFunc) {
	for {
		req, err := x.stream.Recv()
		if err == io.EOF {
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
		x.signal(unix.Signal(msg.Signal))
	default:
		return status.Error(codes.InvalidArgument, "message: want stdin, close_stdin or signal")
	}
	return nil
}

// feed passes stdin on, and gives the client back what it took. Once the
// program has closed its end the rest is taken all the same.
func (x *execution) feed() {
	broken := false
	for {
		b := x.stdin.take()
		if b == nil {
			x.pipes.stdin.Close()
			return
		}
		if !broken {
			_, err := x.pipes.stdin.Write(b)
			broken = err != nil
		}
		x.stdin.passed()
		if x.send(&wire.ExecReply{Msg: &wire.ExecReply_StdinTaken{StdinTaken: int64(len(b))}}) != nil {
			return
		}
	}
}

// pump carries output to the client as fast as the client takes it. If it
// takes no more, the stream's end is on its way and the program is killed.
func (x *execution) pump(r *os.File, message func([]byte) *wire.ExecReply) {
	buf := make([]byte, wire.MaxChunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && x.send(message(buf[:n])) != nil {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			rest(r, buf, func(b []byte) error { return x.send(message(b)) })
			return
		}
		if err != nil {
			return
		}
	}
}

func (x *execution) send(reply *wire.ExecReply) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.stream.Send(reply)
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

// stdinQueue holds the client's stdin until the program reads it.
type stdinQueue struct {
	mu       sync.Mutex
	changed  sync.Cond
	buf      []byte
	out      int  // bytes that were taken and not passed on yet
	finished bool // nothing more comes
	closed   bool // nothing more is wanted
}

func newStdinQueue() *stdinQueue {
	q := &stdinQueue{}
	q.changed.L = &q.mu
	return q
}

// put reports whether the client stayed within the window.
func (q *stdinQueue) put(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.buf)+q.out+len(b) > wire.StdinWindow {
		return false
	}
	if !q.finished {
		q.buf = append(q.buf, b...)
	}
	q.changed.Signal()
	return true
}

// take waits for bytes; nil is the end.
func (q *stdinQueue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) == 0 && !q.finished && !q.closed {
		q.changed.Wait()
	}
	if q.closed || len(q.buf) == 0 {
		return nil
	}
	b := q.buf
	q.buf, q.out = nil, len(b)
	return b
}

// passed says that the program has what was taken: before the client is told.
func (q *stdinQueue) passed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.out = 0
}

func (q *stdinQueue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished = true
	q.changed.Signal()
}

func (q *stdinQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Signal()
}
