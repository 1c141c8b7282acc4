package actorstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// stream is what whoever shows a ticket is connected to.
type stream func(context.Context, *net.UnixConn) error

// issue gives out a ticket. The last one counts.
func (e *Engine) issue(_ string, open func(context.Context, *net.UnixConn) error) (socket, ticket string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
	return "/socket", "ticket"
}

// Fetch shows the last ticket, and reads what it is for to the end. What that was is
// the answer of the name that it returns.
func (e *Engine) Fetch() (name string, err error) {
	e.mu.Lock()
	e.asks++
	name, open := fmt.Sprintf("client-%d", e.asks), e.open
	e.mu.Unlock()
	if open == nil {
		return "", errors.New("no ticket was given out")
	}
	ours, theirs, err := connected()
	if err != nil {
		return "", fmt.Errorf("a connection: %w", err)
	}
	go func() {
		_ = open(context.Background(), theirs) // the other end hears of it
		e.heard(name, fetched(ours))
	}()
	return name, nil
}

// connected are the two ends of a connection.
func connected() (ours, theirs *net.UnixConn, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "pair")
		conn, connErr := net.FileConn(f)
		ends[i], _ = conn.(*net.UnixConn)
		err = errors.Join(err, connErr, f.Close())
	}
	return ends[0], ends[1], err
}

// fetched is how what came by a connection ended: World.Send writes nothing, so that
// all that comes is the word of its end.
func fetched(conn net.Conn) proto.Message {
	said, err := io.ReadAll(conn)
	if err = errors.Join(err, conn.Close()); err != nil || len(said) < 4 {
		return &wire.Refused{Code: wire.Code_CODE_INTERNAL, Message: fmt.Sprintf("%d bytes came: %v", len(said), err)}
	}
	if why := said[4:]; len(why) > 0 {
		return &wire.Refused{Code: wire.Code_CODE_FAILED, Message: string(why)}
	}
	return &wire.Done{}
}
