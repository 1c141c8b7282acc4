package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// diskSource is a machine's disk as the engine sends it; nil is that of a machine
// which has none.
type diskSource struct {
	conn  net.Conn
	next  tree.Source
	bytes int64
	stop  func() bool
}

// openDisk opens the stream, and learns how large the disk is.
func openDisk(ctx context.Context, e engine, t *wire.Ticket) (*diskSource, error) {
	if t == nil {
		return nil, nil
	}
	conn, err := e.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	d := &diskSource{conn: conn, next: tree.From(conn), stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	first, err := d.next()
	if err == nil && first.GetEntry().GetSize() < 1 {
		err = errors.New("the engine sent no disk")
	}
	if err != nil {
		d.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, sentFailure(err)
	}
	d.bytes = first.GetEntry().GetSize()
	return d, nil
}

func (d *diskSource) size() int64 {
	if d == nil {
		return 0
	}
	return d.bytes
}

func (d *diskSource) close() {
	if d != nil {
		d.stop()
		_ = d.conn.Close() // read to its end, or given up
	}
}

// each hands over the pieces, and makes sure that they are all.
func (d *diskSource) each(piece func(at int64, b []byte) error) error {
	if d == nil {
		return nil
	}
	for {
		p, err := d.next()
		if err != nil {
			return sentFailure(err)
		}
		if end := p.GetEnd(); end != nil {
			if end.GetSize() != d.bytes {
				return fmt.Errorf("the disk had %d bytes, and has %d now", d.bytes, end.GetSize())
			}
			break
		}
		if err := piece(p.GetData().GetOffset(), p.GetData().GetData()); err != nil {
			return err
		}
	}
	if _, err := d.next(); !errors.Is(err, io.EOF) { // what it says behind the last piece
		return sentFailure(err)
	}
	return nil
}

// sentFailure is a disk that did not come whole.
func sentFailure(err error) error {
	if said, ok := errors.AsType[*tree.FailedError](err); ok {
		return &failure{code: exitGeneral, kind: "failed", message: "the engine could not go on: " + said.Why, hint: "arcbox engine status", cause: err}
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return &failure{code: exitNoEngine, kind: "unavailable", message: "the engine went away in the middle: " + err.Error(), hint: "arcbox engine status", cause: err}
}

// diskSink is a disk on its way to the engine; nil is that of a machine without one.
type diskSink struct {
	conn  net.Conn
	buf   *bufio.Writer
	sink  tree.Sink
	bytes int64
	stop  func() bool
}

// sendBuffer joins small pieces.
const sendBuffer = 256 << 10

func stageDisk(ctx context.Context, e engine, bytes int64) (*diskSink, error) {
	t, err := ask[*wire.Ticket](ctx, e, &wire.StageDisk{})
	if err != nil {
		return nil, err
	}
	conn, err := e.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	d := &diskSink{conn: conn, buf: bufio.NewWriterSize(conn, sendBuffer), bytes: bytes}
	d.sink, d.stop = tree.Into(d.buf), context.AfterFunc(ctx, func() { _ = conn.Close() })
	entry := &guestwire.CopyEntry{Kind: guestwire.CopyEntry_KIND_FILE, Mode: 0o600, Size: bytes}
	return d, d.said(d.sink(&guestwire.CopyPart{Part: &guestwire.CopyPart_Entry{Entry: entry}}))
}

func (d *diskSink) close() {
	if d != nil {
		d.stop()
		_ = d.conn.Close() // the engine drops what no machine has
	}
}

// piece sends one, in parts that the other side takes.
func (d *diskSink) piece(at int64, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), guestwire.Chunk)
		data := &guestwire.CopyData{Offset: at, Data: b[:n]}
		if err := d.sink(&guestwire.CopyPart{Part: &guestwire.CopyPart_Data{Data: data}}); err != nil {
			return d.said(err)
		}
		at, b = at+int64(n), b[n:]
	}
	return nil
}

// end says that this was all, and returns the stage in which the engine keeps it.
func (d *diskSink) end() (string, error) {
	err := d.sink(&guestwire.CopyPart{Part: &guestwire.CopyPart_End{End: &guestwire.CopyEnd{Size: d.bytes}}})
	if err == nil {
		err = tree.End(d.buf, nil)
	}
	if err == nil {
		err = d.buf.Flush()
	}
	if err != nil {
		return "", d.said(err)
	}
	return d.answer()
}

// give tells the engine that nothing more comes. It drops what it has.
func (d *diskSink) give(why error) {
	if d != nil {
		_ = tree.End(d.buf, why) // it hears of the end of the connection, too
		_ = d.buf.Flush()
	}
}

// sayTime is for an engine to say why it takes no more.
const sayTime = 2 * time.Second

// said is why the engine takes no more, where it says so.
func (d *diskSink) said(err error) error {
	if err == nil {
		return nil
	}
	if limitErr := d.conn.SetReadDeadline(time.Now().Add(sayTime)); limitErr != nil {
		return sentFailure(err)
	}
	if _, why := d.answer(); why != nil {
		if f, ok := errors.AsType[*failure](why); ok && f.code == exitGeneral {
			return f
		}
	}
	return sentFailure(err)
}

// answer reads the engine's last word: "ok STAGE", or "error: WHY".
func (d *diskSink) answer() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(d.conn, 8<<10)).ReadString('\n')
	if err != nil {
		return "", sentFailure(err)
	}
	line = strings.TrimSuffix(line, "\n")
	if stage, ok := strings.CutPrefix(line, "ok "); ok {
		return stage, nil
	}
	f := &failure{code: exitGeneral, kind: "failed", message: "the engine did not take the disk: " + strings.TrimPrefix(line, "error: ")}
	if f.hint = "arcbox engine status"; strings.Contains(line, "no space left") {
		f.hint = "df -h, on the engine's host"
	}
	return "", f
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
