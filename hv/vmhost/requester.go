package vmhost

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// requester is a connection with what was read beyond its request.
type requester struct {
	*net.UnixConn
	rest     []byte
	fds      []int
	once     sync.Once
	answered func() // nothing more is owed to it; may be called again
}

// Read hands out first what was read early.
func (c *requester) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.UnixConn.Read(p)
}

// requestReader reads a request with the descriptors that came along.
type requestReader struct{ c *requester }

func (r requestReader) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(maxFDs*4))
	n, oobn, flags, _, err := r.c.ReadMsgUnix(p, oob)
	n, oobn = max(n, 0), max(oobn, 0) // with an error, both may be -1
	messages, parseErr := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			for _, fd := range fds {
				unix.CloseOnExec(fd)
			}
			r.c.fds = append(r.c.fds, fds...)
		}
	}
	switch {
	case err != nil:
		return n, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	case parseErr != nil || flags&unix.MSG_CTRUNC != 0 || len(r.c.fds) > maxFDs:
		return n, fmt.Errorf("request: more than %d descriptors", maxFDs)
	}
	return n, nil
}

// takeFD gives the one descriptor that came along, if there is exactly one.
func (c *requester) takeFD() (int, bool) {
	if len(c.fds) != 1 {
		return -1, false
	}
	fd := c.fds[0]
	c.fds = nil
	return fd, true
}

func (c *requester) shut() {
	c.once.Do(func() {
		for _, fd := range c.fds {
			_ = unix.Close(fd)
		}
		_ = c.Close()
	})
}

// send writes one line.
func (c *requester) send(v any) error {
	line, err := api.Encode(v)
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(writeTime))
	_, err = c.Write(line)
	_ = c.SetWriteDeadline(time.Time{})
	return err
}

// refuse answers with an error; that the requester may be gone changes nothing.
func (c *requester) refuse(err error) {
	_ = c.send(api.Answer{Code: codeOf(err), Error: api.Clip(err.Error())})
}

// whileHere runs f with a context that ends when the requester hangs up, which
// is to shut its sending side before the answer. Bytes that it sends meanwhile
// are kept.
func (c *requester) whileHere(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	early := make([]byte, 512)
	n := 0
	go func() {
		defer close(watched)
		var err error
		if n, err = c.UnixConn.Read(early); err != nil {
			cancel()
		}
	}()
	err := f(ctx)
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-watched
	_ = c.SetReadDeadline(time.Time{})
	c.rest = append(c.rest, early[:n]...)
	return err
}
