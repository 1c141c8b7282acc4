package sim

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// bootIDFile is the one file of a sim guest.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// program is one exec. ctx ends with its stream, its time limit or a signal.
type program struct {
	ctx    context.Context
	cancel context.CancelFunc
	stream grpc.BidiStreamingServer[wire.ExecRequest, wire.ExecReply]
	stdin  chan []byte // closed at the end of the input
	signal atomic.Int32
}

func newProgram(ctx context.Context, stream grpc.BidiStreamingServer[wire.ExecRequest, wire.ExecReply]) *program {
	p := &program{stream: stream, stdin: make(chan []byte)}
	p.ctx, p.cancel = context.WithCancel(ctx)
	return p
}

// feed reads what the client sends until the stream ends.
func (p *program) feed(stream grpc.BidiStreamingServer[wire.ExecRequest, wire.ExecReply]) {
	open := true
	shut := func() {
		if open {
			close(p.stdin)
		}
		open = false
	}
	defer shut()
	for {
		m, err := stream.Recv()
		if err != nil {
			return
		}
		switch msg := m.GetMsg().(type) {
		case *wire.ExecRequest_Stdin:
			if !open {
				continue
			}
			select {
			case p.stdin <- msg.Stdin:
			case <-p.ctx.Done():
			}
		case *wire.ExecRequest_CloseStdin:
			shut()
		case *wire.ExecRequest_Signal:
			p.signal.CompareAndSwap(0, msg.Signal)
			p.cancel()
		}
	}
}

// known tells whether there is such a program.
func (p *program) known(argv []string) bool {
	switch argv[0] {
	case "true", "false", "echo", "cat", "sleep":
		return true
	}
	_, ok := exitStatus(argv)
	return ok
}

// run is the program; it returns the exit status.
func (p *program) run(a *agent, argv []string) int32 {
	switch argv[0] {
	case "true":
		return 0
	case "false":
		return 1
	case "echo":
		p.print(strings.NewReader(strings.Join(argv[1:], " ") + "\n"))
		return 0
	case "cat":
		return p.cat(a, argv[1:])
	case "sleep":
		return p.sleep(argv[1:])
	}
	code, _ := exitStatus(argv)
	return code
}

func (p *program) cat(a *agent, files []string) int32 {
	if len(files) == 0 {
		pump(p)
		return 0
	}
	for _, f := range files {
		if f != bootIDFile {
			return 1
		}
		p.print(strings.NewReader(a.bootID + "\n"))
	}
	return 0
}

func (p *program) sleep(args []string) int32 {
	if len(args) != 1 {
		return 1
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil || seconds < 0 || seconds > maxAfter.Seconds() {
		return 1
	}
	t := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
	return 0
}

// done ends the exec.
func (p *program) done(d *wire.ExecDone) error {
	p.cancel()
	return p.stream.Send(&wire.ExecReply{Msg: &wire.ExecReply_Done{Done: d}})
}
