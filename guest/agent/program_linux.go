package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

const (
	// lingerTime is how long output is still awaited from children that a
	// program left behind.
	lingerTime = 200 * time.Millisecond
	// hangUpTime is how long a program may take to end by itself once its
	// terminal was hung up.
	hangUpTime = 2 * time.Second
	// pumpMost is the most output that is read at once.
	pumpMost = 256 << 10
)

// errStreams: a program did not run for want of pipes or of a terminal.
var errStreams = errors.New("the program's streams")

// program is one that runs, whichever way it was asked for.
type program struct {
	agent *Agent
	child *child
	io    streams
}

// enter counts one more program; false = there are as many as may be.
func (a *Agent) enter() (leave func(), ok bool) {
	select {
	case a.execs <- struct{}{}:
		return func() { <-a.execs }, true
	default:
		return nil, false
	}
}

// launch runs what was looked up. The caller closes the streams.
func (a *Agent) launch(p *process, terminal *wire.TerminalSize) (*program, error) {
	io, err := p.streams(terminal)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStreams, err)
	}
	return a.launchOn(p, io)
}

// launchOn runs it with streams that are there.
func (a *Agent) launchOn(p *process, io streams) (*program, error) {
	child, err := a.children.start(p.path, p.argv, p.attr(io))
	io.closeTheirs()
	if err != nil {
		io.close()
		return nil, notRun(p.path, err)
	}
	return &program{agent: a, child: child, io: io}, nil
}

// wait awaits the program's end, and hastens it where the time limit is over
// or the client gone.
func (p *program) wait(ctx context.Context, limit time.Duration) (timedOut bool) {
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-p.child.ended:
			return timedOut
		case <-over:
			timedOut = true
			p.signal(unix.SIGKILL)
		case <-ctx.Done():
			p.abandon()
			return timedOut
		}
	}
}

// abandon ends a program whose client has gone. With a terminal that is a
// hang-up: the kernel tells the session, and what does not want to hear it has
// a moment to go.
func (p *program) abandon() {
	if p.io.terminal {
		p.io.stdin.Close()
		grace := time.NewTimer(hangUpTime)
		defer grace.Stop()
		select {
		case <-p.child.ended:
		case <-grace.C:
		}
	}
	p.signal(unix.SIGKILL)
}

// signal is for a program that may have ended meanwhile: then it is nothing.
func (p *program) signal(sig unix.Signal) {
	if err := p.agent.children.signal(p.child, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.agent.opts.Log.Warn("exec", "err", err)
	}
}

// drained waits for the end of the output, while the client is there.
func drained(ctx context.Context, reading *sync.WaitGroup) error {
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

// pump carries output to the client as fast as the client takes it. If it
// takes no more, the client's end is on its way and the program is killed. What
// is read at once grows with what is there.
func pump(r *os.File, send func([]byte) error) {
	buf := make([]byte, wire.Chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && send(buf[:n]) != nil {
			return
		}
		if n == len(buf) && n < pumpMost {
			buf = make([]byte, min(2*n, pumpMost))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			rest(r, buf, send)
			return
		}
		if err != nil {
			return
		}
	}
}
