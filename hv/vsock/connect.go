package vsock

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// maxConnectLine is more than "CONNECT 4294967295\n" needs.
const maxConnectLine = 32

const acceptPause = 50 * time.Millisecond

// ServeConnect lets other programs dial the guest, as Connector.Serve does. It
// returns nil once l is closed or the device has ended, which closes l.
func (d *Device) ServeConnect(l net.Listener) error {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		_ = l.Close()
		return fmt.Errorf("vsock: serve connect: %w", hv.ErrGone)
	}
	d.wg.Add(1)
	d.mu.Unlock()
	defer d.wg.Done()
	return Connector{Dial: d.Dial, MaxConns: d.o.MaxConns, Timeout: d.o.ConnectTimeout, Log: d.log.With("cid", d.cid)}.Serve(d.life, l)
}

// Connector lets other programs dial a guest.
type Connector struct {
	// Dial's connections have an Addr at the host's end, CloseRead and CloseWrite.
	Dial     func(ctx context.Context, port uint32) (net.Conn, error)
	MaxConns int           // at a time
	Timeout  time.Duration // for the client's line, and for the dial
	Log      *slog.Logger
}

// Serve serves the clients of l until it is closed, or ctx is over, which closes l
// and ends them. A client sends "CONNECT <port>\n", is answered
// "OK <host port>\n", and then has the connection. One that is refused is closed.
// Who may connect to l is the caller's matter.
func (o Connector) Serve(ctx context.Context, l net.Listener) error {
	defer func() { _ = l.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	slots := make(chan struct{}, o.MaxConns)
	for {
		client, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED):
			pauseAccept(ctx)
			continue
		case err != nil:
			return fmt.Errorf("vsock: serve connect: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default: // as many clients as there can be connections
			_ = client.Close()
			continue
		}
		clients.Go(func() {
			o.serveClient(ctx, client)
			<-slots
		})
	}
}

// pauseAccept lets a lack of descriptors pass.
func pauseAccept(ctx context.Context) {
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// halfCloser is a connection whose directions end one by one.
type halfCloser interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// serveClient serves one client to its end.
func (o Connector) serveClient(life context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	stop := context.AfterFunc(life, func() { _ = client.Close() })
	defer stop()
	ctx, cancel := context.WithTimeout(life, o.Timeout)
	defer cancel()
	host, ok := client.(halfCloser)
	if !ok {
		o.Log.Error("vsock connect: the listener's connections can't be closed by halves")
		return
	}
	guest, rest, err := o.connect(ctx, client)
	if err != nil {
		o.Log.Debug("vsock connect refused", "err", err)
		return
	}
	defer func() { _ = guest.Close() }()
	splice(host, rest, guest.(halfCloser))
}

// connect does what the client's line says. The reader has all that the client
// sends behind it.
func (o Connector) connect(ctx context.Context, client net.Conn) (net.Conn, io.Reader, error) {
	if err := client.SetReadDeadline(time.Now().Add(o.Timeout)); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(client, maxConnectLine)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, nil, fmt.Errorf("read line: %w", err)
	}
	port, err := parseConnect(string(line))
	if err != nil {
		return nil, nil, err
	}
	guest, err := o.Dial(ctx, port)
	if err != nil {
		return nil, nil, err
	}
	local := guest.LocalAddr().(Addr)
	if err := errors.Join(
		client.SetReadDeadline(time.Time{}),
		writeAll(client, "OK "+strconv.FormatUint(uint64(local.Port), 10)+"\n"),
	); err != nil {
		_ = guest.Close()
		return nil, nil, err
	}
	// Only what is buffered comes from r: its buffer is too small to carry all.
	rest, err := r.Peek(r.Buffered())
	if err != nil {
		_ = guest.Close()
		return nil, nil, err
	}
	return guest, io.MultiReader(bytes.NewReader(rest), client), nil
}

func writeAll(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// parseConnect reads "CONNECT <port>\n".
func parseConnect(line string) (uint32, error) {
	digits, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "CONNECT ")
	if !ok {
		return 0, fmt.Errorf("line %q: must be CONNECT and a port", line)
	}
	port, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("line %q: the port must be a number up to 4294967294", line)
	}
	return uint32(port), nil
}

// splice carries bytes both ways. Each direction ends by itself: a guest that
// answers and closes while the client still sends must not lose its answer. A
// reset ends both.
func splice(host halfCloser, rest io.Reader, guest halfCloser) {
	carry := func(to, from halfCloser, r io.Reader) {
		_, err := io.Copy(to, r)
		switch {
		case err == nil:
			_ = to.CloseWrite()
		case errors.Is(err, syscall.EPIPE):
			_ = from.CloseRead()
		default:
			_ = host.Close()
			_ = guest.Close()
		}
	}
	var both sync.WaitGroup
	both.Go(func() { carry(guest, host, rest) })
	carry(host, guest, guest)
	both.Wait()
}
