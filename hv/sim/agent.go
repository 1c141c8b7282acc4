package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vsock"
)

// agent is the guest's agent between two boots.
type agent struct {
	wire.UnimplementedAgentServer
	vm     *VM
	id     string
	bootID string
	begun  time.Time
	server *grpc.Server
	conns  *vsock.Listener
}

func newAgent(vm *VM, who identity) *agent {
	a := &agent{
		vm: vm, id: who.ID, bootID: who.BootID, begun: time.Now().Add(-who.Up),
		server: grpc.NewServer(
			grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage),
			grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10), grpc.ConnectionTimeout(10*time.Second),
		),
		conns: vsock.NewListener(vsock.Addr{CID: vm.spec.CID, Port: hv.AgentPort}, backlog, func() {}),
	}
	wire.RegisterAgentServer(a.server, a)
	go func() { _ = a.server.Serve(a.conns) }() // ends with stop
	return a
}

// take serves a connection once its preface is right.
func (a *agent) take(c *tracked) {
	if a.vm.welcome(c) != nil || !a.conns.Offer(c) {
		_ = c.Close()
	}
}

func (a *agent) stop() { a.server.Stop() }

// Hello says who answers.
func (a *agent) Hello(context.Context, *wire.HelloRequest) (*wire.HelloReply, error) {
	boot := a.begun.Sub(a.vm.begun).Milliseconds()
	return &wire.HelloReply{
		Protocol: wire.Protocol, Version: "sim", AgentId: a.id, BootId: a.bootID, Cid: uint32(a.vm.spec.CID),
		Phases: map[string]int64{"init": boot, "modules": boot, "mounts": boot, "listening": boot},
	}, nil
}

// Ping echoes.
func (a *agent) Ping(_ context.Context, r *wire.PingRequest) (*wire.PingReply, error) {
	if len(r.GetPayload()) > wire.MaxChunk {
		return nil, status.Errorf(codes.InvalidArgument, "payload has %d bytes: at most %d", len(r.GetPayload()), wire.MaxChunk)
	}
	return &wire.PingReply{Payload: r.GetPayload(), Version: "sim", UnixNanos: time.Now().UnixNano()}, nil
}

// SystemInfo tells of a guest that is the spec's.
func (a *agent) SystemInfo(context.Context, *wire.SystemInfoRequest) (*wire.SystemInfoReply, error) {
	return &wire.SystemInfoReply{
		KernelVersion: "sim", OsName: "sim", OsVersion: "1", Arch: runtime.GOARCH,
		TotalMemory: uint64(a.vm.spec.Memory), AvailableMemory: uint64(a.vm.spec.Memory),
		CpuCount: uint32(a.vm.spec.CPUs), LoadAverage: []float64{0, 0, 0}, Hostname: a.vm.spec.Name,
		UptimeSeconds: time.Since(a.begun).Seconds(), BootId: a.bootID, Cid: uint32(a.vm.spec.CID),
	}, nil
}

// Clock reads the host's clock, and sets nothing.
func (a *agent) Clock(_ context.Context, r *wire.ClockRequest) (*wire.ClockReply, error) {
	now := time.Now().UnixNano()
	reply := &wire.ClockReply{UnixNanos: now}
	if r.GetUnixNanos() != 0 {
		reply.OffsetNanos = now - r.GetUnixNanos()
		reply.Stepped = reply.OffsetNanos > int64(time.Second) || reply.OffsetNanos < -int64(time.Second)
	}
	return reply, nil
}

// replyTime is how long after the reply to a shutdown the guest goes, so that
// the reply is read.
const replyTime = 5 * time.Millisecond

// Shutdown ends the VM powered off.
func (a *agent) Shutdown(context.Context, *wire.ShutdownRequest) (*wire.ShutdownReply, error) {
	a.vm.later(replyTime, func() { _ = a.vm.PowerButton(context.Background()) })
	return &wire.ShutdownReply{}, nil
}

// Exec runs one of the few programs that there are.
func (a *agent) Exec(stream grpc.BidiStreamingServer[wire.ExecRequest, wire.ExecReply]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil || len(start.GetArgv()) == 0 {
		return status.Error(codes.InvalidArgument, "the first message must be start, with a program")
	}
	ctx := stream.Context()
	if limit := start.GetTimeoutNanos(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(limit))
		defer cancel()
	}
	p := newProgram(ctx, stream)
	go p.feed(stream)
	if !p.known(start.GetArgv()) {
		return p.done(&wire.ExecDone{Error: start.GetArgv()[0] + ": not found", ErrorStatus: 127})
	}
	if err := stream.Send(&wire.ExecReply{Msg: &wire.ExecReply_Started{Started: &wire.ExecStarted{Pid: 100}}}); err != nil {
		return err
	}
	code := p.run(a, start.GetArgv())
	switch {
	case p.signal.Load() != 0:
		return p.done(&wire.ExecDone{Signal: p.signal.Load()})
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && stream.Context().Err() == nil:
		return p.done(&wire.ExecDone{Signal: 9, TimedOut: true})
	}
	return p.done(&wire.ExecDone{Status: code})
}

// exitStatus reads the N of sh -c 'exit N'.
func exitStatus(argv []string) (int32, bool) {
	if len(argv) != 3 || argv[0] != "sh" || argv[1] != "-c" {
		return 0, false
	}
	text, ok := strings.CutPrefix(argv[2], "exit ")
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 8)
	return int32(n), ok && err == nil
}

// pump copies standard input to standard output, and gives the client leave to
// send as much more.
func pump(p *program) {
	for {
		select {
		case chunk, ok := <-p.stdin:
			if !ok {
				return
			}
			p.print(bytes.NewReader(chunk))
			if p.stream.Send(&wire.ExecReply{Msg: &wire.ExecReply_StdinTaken{StdinTaken: int64(len(chunk))}}) != nil {
				return
			}
		case <-p.ctx.Done():
			return
		}
	}
}

// print sends standard output in chunks.
func (p *program) print(r io.Reader) {
	buf := make([]byte, wire.Chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && p.stream.Send(&wire.ExecReply{Msg: &wire.ExecReply_Stdout{Stdout: bytes.Clone(buf[:n])}}) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}
