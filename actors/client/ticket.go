package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// OpenTicket opens the byte stream that a ticket stands for. The connection can
// be closed in one direction; an engine's on this host is a *net.UnixConn.
func (c *Client) OpenTicket(ctx context.Context, t *wire.Ticket) (net.Conn, error) {
	conn, err := c.door.Stream(ctx, t.GetSocket())
	if err != nil {
		return nil, err
	}
	if err := redeem(ctx, conn, t.GetTicket()); err != nil {
		return nil, errors.Join(fmt.Errorf("client: open the stream: %w", err), conn.Close())
	}
	return conn, nil
}

func redeem(ctx context.Context, conn net.Conn, ticket string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // unblocks what follows
	answer, err := exchange(conn, ticket)
	switch {
	case !stop():
		return context.Cause(ctx)
	case err != nil:
		return err
	case answer == "ok":
		return nil
	default:
		return errors.New(strings.TrimPrefix(answer, "error: "))
	}
}

// exchange reads the answer byte by byte: what comes after its line is the
// stream's.
func exchange(conn net.Conn, ticket string) (string, error) {
	if _, err := io.WriteString(conn, ticket+"\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReaderSize(io.LimitReader(oneByte{conn}, 1024), 16).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no answer to the ticket: %w", err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// oneByte keeps a buffered reader from reading ahead.
type oneByte struct{ io.Reader }

// Read implements io.Reader.
func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }
