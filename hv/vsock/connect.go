package vsock

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

// ServeConnect lets other programs dial the guest: a client of l sends
// "CONNECT <port>\n", is answered "OK <host port>\n", and then has the
// connection. One that is refused is closed. Who may connect to l is the
// caller's matter. It returns nil once l is closed or the device has ended,
// which closes l.
func (d *Device) ServeConnect(l net.Listener) error {
	defer func() { _ = l.Close() }()
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return fmt.Errorf("vsock: serve connect: %w", hv.ErrGone)
	}
	d.wg.Add(1)
	d.mu.Unlock()
	defer d.wg.Done()

	stop := context.AfterFunc(d.life, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	slots := make(chan struct{}, d.o.MaxConns)
	for {
		client, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED):
			d.pauseAccept()
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
			d.serveClient(client)
			<-slots
		})
	}
}

// pauseAccept lets a lack of descriptors pass.
func (d *Device) pauseAccept() {
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.life.Done():
	}
}

// halfCloser is a connection whose directions end one by one.
type halfCloser interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// serveClient serves one client of ServeConnect to its end.
func (d *Device) serveClient(client net.Conn) {
	defer func() { _ = client.Close() }()
	stop := context.AfterFunc(d.life, func() { _ = client.Close() })
	defer stop()
	ctx, cancel := context.WithTimeout(d.life, d.o.ConnectTimeout)
	defer cancel()
	host, ok := client.(halfCloser)
	if !ok {
		d.log.Error("vsock connect: the listener's connections can't be closed by halves", "cid", d.cid)
		return
	}
	guest, rest, err := d.connect(ctx, client)
	if err != nil {
		d.log.Debug("vsock connect refused", "cid", d.cid, "err", err)
		return
	}
	defer func() { _ = guest.Close() }()
	splice(host, rest, guest.(halfCloser))
}

// connect does what the client's line says. The reader has all that the client
// sends behind it.
func (d *Device) connect(ctx context.Context, client net.Conn) (net.Conn, io.Reader, error) {
	if err := client.SetReadDeadline(time.Now().Add(d.o.ConnectTimeout)); err != nil {
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
	guest, err := d.Dial(ctx, port)
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
