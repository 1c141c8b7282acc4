package vsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// replyTimeout ends a front end that does not read its answers.
const replyTimeout = 10 * time.Second

// Serve speaks vhost-user on conn until the front end ends or Close is called,
// which are both nil, or until it breaks the protocol. It closes conn. A Device
// serves once.
func (d *Device) Serve(conn *net.UnixConn) error {
	defer func() { _ = conn.Close() }()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return fmt.Errorf("vsock: serve on a big-endian host: %w", hv.ErrUnsupported)
	}
	if err := d.begin(conn); err != nil {
		return err
	}
	defer d.wg.Done()
	err := d.session(conn)
	byClose := d.end()
	d.tasks.Wait()
	if byClose || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("vsock: serve: %w", err)
}

// begin claims the device for one Serve.
func (d *Device) begin(conn *net.UnixConn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ended:
		return fmt.Errorf("vsock: serve: %w", hv.ErrGone)
	case d.front != nil:
		return errors.New("vsock: serve: the device serves already, and does so once")
	}
	d.front = conn
	d.wg.Add(1)
	d.tasks.Go(d.leftover)
	return nil
}

// session reads messages until one can't be read, understood or answered.
func (d *Device) session(conn *net.UnixConn) error {
	for {
		m, err := readMessage(conn)
		if err != nil {
			return err
		}
		answer, err := d.answer(&m)
		closeFDs(m.fds)
		if err != nil {
			return err
		}
		if answer == nil {
			continue
		}
		if err := conn.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
			return err
		}
		if _, err := conn.Write(answer); err != nil {
			return fmt.Errorf("vhost-user request %d: reply: %w", m.request, err)
		}
	}
}
