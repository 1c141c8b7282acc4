package agent

import (
	"context"
	"net"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	stored "github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// takeTime is how long who connected waits for the host.
const takeTime = 20 * time.Second

// Listen makes a socket of the guest that leads to the host, for as long as the caller
// wants it. The host opens a connection for each that comes.
func (a *Agent) Listen(req *wire.ListenRequest, stream grpc.ServerStreamingServer[wire.ListenReply]) error {
	at := req.GetPath()
	if !path.IsAbs(at) || len(at) > wire.MaxSocketPath {
		return status.Errorf(codes.InvalidArgument, "path %.80q: an absolute one of at most %d bytes", at, wire.MaxSocketPath)
	}
	l, err := stored.ListenSocket(at)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	defer l.Close()
	ctx := stream.Context()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	if err := stream.Send(&wire.ListenReply{}); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		if err := a.offer(ctx, c, stream.Send); err != nil {
			return err
		}
	}
}

// offer tells the host of a connection, and joins it to the one that the host opens.
func (a *Agent) offer(ctx context.Context, c net.Conn, send func(*wire.ListenReply) error) error {
	select {
	case a.forwards <- struct{}{}:
	default:
		return c.Close()
	}
	key, arrived, forget := a.outlets.want()
	go func() {
		defer a.guard("listen")
		defer func() { <-a.forwards }()
		defer forget()
		defer c.Close()
		late := time.NewTimer(takeTime)
		defer late.Stop()
		select {
		case far := <-arrived:
			defer far.Close()
			if counted, ok := far.(*countedConn); ok {
				counted.leave() // from here on they have a bound of their own
			}
			join(c, far)
		case <-late.C:
		case <-ctx.Done():
		}
	}()
	return send(&wire.ListenReply{Key: key[:]})
}
