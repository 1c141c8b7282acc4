package agent

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// outletPipe is what the pipe of a program holds whose output has a connection
// of its own, the most without privileges: the program and the agent take turns
// less often, which is where the time goes. (Splicing is slower: its packets
// are single pages.)
const outletPipe = 1 << 20

type besideKey [wire.BesideKey]byte

// outlets hands connections beside calls to the programs that they are for.
type outlets struct {
	mu     sync.Mutex
	wanted map[besideKey]chan net.Conn
}

// want makes a key, and says where the connection comes that shows it. Whoever
// wanted one forgets it in the end.
func (o *outlets) want() (key besideKey, arrived <-chan net.Conn, forget func()) {
	// A key that the kernel could not make is one that nobody shows.
	b, _ := hex.DecodeString(strings.ReplaceAll(oneLine("/proc/sys/kernel/random/uuid"), "-", ""))
	copy(key[:], b)
	c := make(chan net.Conn, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wanted == nil {
		o.wanted = make(map[besideKey]chan net.Conn)
	}
	o.wanted[key] = c
	return key, c, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.wanted, key)
		select {
		case late := <-c:
			late.Close()
		default:
		}
	}
}

// connect takes a connection that began with [wire.Beside]. A key that is not
// wanted, or no more, ends it.
func (o *outlets) connect(c net.Conn) {
	var head [len(wire.Beside) + wire.BesideKey]byte
	err := c.SetReadDeadline(time.Now().Add(prefaceTime))
	if err == nil {
		_, err = io.ReadFull(c, head[:])
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil || !o.hand(besideKey(head[len(wire.Beside):]), c) {
		c.Close()
	}
}

func (o *outlets) hand(key besideKey, c net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	to, ok := o.wanted[key]
	if ok {
		delete(o.wanted, key)
		to <- c // has room: a key is good once
	}
	return ok
}

// outlet carries one program's stdout: in messages of the call, until there is
// a connection for it.
type outlet struct {
	x       *execution
	ctx     context.Context // of the call
	cancel  context.CancelCauseFunc
	arrived <-chan net.Conn
	conn    net.Conn
	sent    int64 // on conn
}

func (o *outlet) send(b []byte) error {
	if o.conn == nil {
		select {
		case c := <-o.arrived:
			if err := o.turn(c); err != nil {
				return err
			}
		default:
			return o.x.sendChunks(b, func(b []byte) *wire.ExecReply {
				return &wire.ExecReply{Msg: &wire.ExecReply_Stdout{Stdout: b}}
			})
		}
	}
	n, err := o.conn.Write(b)
	o.sent += int64(n)
	if err != nil {
		o.cancel(err) // or the program would wait for ever for a reader
	}
	return err
}

// turn makes what follows go to a connection, which ends with the call.
func (o *outlet) turn(c net.Conn) error {
	o.conn = c
	context.AfterFunc(o.ctx, func() { c.Close() })
	if conn, err := o.x.io.stdout.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) {
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, outletPipe) // less is slower, and right
		})
	}
	return o.x.send(&wire.ExecReply{Msg: &wire.ExecReply_StdoutBeside{StdoutBeside: true}})
}

func (o *outlet) end() {
	if o.conn != nil {
		o.conn.Close()
	}
}
