package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxQMPLine is the longest line that QEMU may send. What we ask for and listen
// to takes a few hundred bytes.
const maxQMPLine = 64 << 10

// errQMPEnded is the answer of a connection that QEMU has closed.
var errQMPEnded = errors.New("hv/qemu: the QMP connection has ended")

// message is one line from QEMU: a greeting, an event, or the answer to a
// command.
type message struct {
	greeting bool
	id       uint64
	result   json.RawMessage
	fault    *qmpError
	event    *qmpEvent
}

// qmpError is QEMU's refusal of a command.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return "QEMU refused: " + e.Desc + " (" + e.Class + ")" }

// qmpEvent is one thing that QEMU reports by itself.
type qmpEvent struct {
	name string
	data eventData
	time time.Time
}

// eventData holds the members that we read of any event.
type eventData struct {
	Guest   bool   `json:"guest"`
	Reason  string `json:"reason"`
	Device  string `json:"device"`
	NoSpace bool   `json:"nospace"`
	Status  string `json:"status"`
}

// decodeMessage reads one line. It takes members that it doesn't know, and
// refuses a line that is none of the three forms.
func decodeMessage(line []byte) (message, error) {
	var raw struct {
		QMP       json.RawMessage `json:"QMP"`
		Return    json.RawMessage `json:"return"`
		Error     *qmpError       `json:"error"`
		ID        uint64          `json:"id"`
		Event     string          `json:"event"`
		Data      eventData       `json:"data"`
		Timestamp struct {
			Seconds      int64 `json:"seconds"`
			Microseconds int64 `json:"microseconds"`
		} `json:"timestamp"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return message{}, fmt.Errorf("hv/qemu: QMP line %q: %w", cut(line), err)
	}
	switch {
	case raw.Event != "":
		at := time.Unix(raw.Timestamp.Seconds, raw.Timestamp.Microseconds*1000).UTC()
		return message{event: &qmpEvent{name: raw.Event, data: raw.Data, time: at}}, nil
	case raw.QMP != nil:
		return message{greeting: true}, nil
	case raw.Error != nil:
		return message{id: raw.ID, fault: raw.Error}, nil
	case raw.Return != nil:
		return message{id: raw.ID, result: raw.Return}, nil
	}
	return message{}, fmt.Errorf("hv/qemu: QMP line %q is no greeting, event or answer", cut(line))
}

// cut shortens a line for an error's text.
func cut(line []byte) []byte { return line[:min(len(line), 120)] }

// qmpConn is our end of QEMU's monitor. Its events must be received until they
// are closed: answers come through the same reader.
type qmpConn struct {
	conn    net.Conn
	timeout time.Duration // of one command
	events  chan qmpEvent
	greeted chan struct{}

	write sync.Mutex // one command at a time on the wire

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan message
	err     error // why the reader ended; set before ended is closed
	ended   chan struct{}
}

// newQMP starts the reader. It ends when conn does.
func newQMP(conn net.Conn, timeout time.Duration) *qmpConn {
	q := &qmpConn{
		conn: conn, timeout: timeout,
		events: make(chan qmpEvent), greeted: make(chan struct{}), ended: make(chan struct{}),
		waiting: map[uint64]chan message{},
	}
	go q.read()
	return q
}

func (q *qmpConn) read() {
	err := q.readLines()
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	_ = q.conn.Close()
	close(q.ended)
	close(q.events)
}

func (q *qmpConn) readLines() error {
	r := bufio.NewReaderSize(q.conn, maxQMPLine)
	greeted := false
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("hv/qemu: QMP line of more than %d bytes", maxQMPLine)
		}
		if err != nil {
			return errQMPEnded
		}
		m, err := decodeMessage(line)
		switch {
		case err != nil:
			return err
		case m.event != nil:
			q.events <- *m.event
		case !m.greeting:
			q.answer(m)
		case !greeted:
			greeted = true
			close(q.greeted)
		}
	}
}

// answer hands a message to who waits for it. One that comes too late is
// dropped.
func (q *qmpConn) answer(m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.waiting[m.id]; w != nil {
		delete(q.waiting, m.id)
		w <- m // has room for it
	}
}

// greeting awaits QEMU's first line.
func (q *qmpConn) greeting(ctx context.Context) error {
	select {
	case <-q.greeted:
		return nil
	case <-q.ended:
		return q.reason()
	case <-ctx.Done():
		return fmt.Errorf("hv/qemu: await QMP greeting: %w", ctx.Err())
	}
}

// call is do with the connection's own deadline, where that is nearer.
func (q *qmpConn) call(ctx context.Context, command string, arguments any) error {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	return q.do(ctx, command, arguments)
}

// do runs one command and awaits its answer. ctx has a deadline.
func (q *qmpConn) do(ctx context.Context, command string, arguments any) error {
	_, err := q.exchange(ctx, command, arguments, nil)
	return err
}

// lend hands QEMU a copy of an open file, which later commands call by the name.
func (q *qmpConn) lend(ctx context.Context, name string, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	_, err := q.exchange(ctx, "getfd", map[string]string{"fdname": name}, f)
	return err
}

// exchange runs one command, with an open file where it takes one, and returns what
// QEMU answers.
func (q *qmpConn) exchange(ctx context.Context, command string, arguments any, f *os.File) (json.RawMessage, error) {
	id, wait := q.expect()
	defer q.forget(id)
	if err := q.send(ctx, id, command, arguments, f); err != nil {
		// Half a line may be on the wire: the connection is of no more use.
		_ = q.conn.Close()
		<-q.ended
		return nil, fmt.Errorf("hv/qemu: QMP %s: %w: %w", command, err, q.reason())
	}
	select {
	case m := <-wait:
		if m.fault != nil {
			return nil, fmt.Errorf("hv/qemu: QMP %s: %w", command, m.fault)
		}
		return m.result, nil
	case <-q.ended:
		return nil, fmt.Errorf("hv/qemu: QMP %s: %w", command, q.reason())
	case <-ctx.Done():
		return nil, fmt.Errorf("hv/qemu: QMP %s: no answer: %w", command, ctx.Err())
	}
}

func (q *qmpConn) send(ctx context.Context, id uint64, command string, arguments any, f *os.File) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, arguments, id})
	if err != nil {
		return err
	}
	q.write.Lock()
	defer q.write.Unlock()
	deadline, _ := ctx.Deadline()
	if err := q.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if f != nil {
		return sendWith(q.conn, append(line, '\n'), f)
	}
	_, err = q.conn.Write(append(line, '\n'))
	return err
}

// sendWith writes a line, and with it a copy of an open file.
func sendWith(c net.Conn, line []byte, f *os.File) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("the monitor is no unix socket")
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		var n int
		n, _, sent = u.WriteMsgUnix(line, unix.UnixRights(int(fd)), nil)
		if sent == nil && n < len(line) {
			_, sent = u.Write(line[n:])
		}
	})
	return errors.Join(err, sent)
}

func (q *qmpConn) expect() (uint64, chan message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	w := make(chan message, 1)
	q.waiting[q.last] = w
	return q.last, w
}

func (q *qmpConn) forget(id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, id)
}

// over tells whether the connection has ended.
func (q *qmpConn) over() bool {
	select {
	case <-q.ended:
		return true
	default:
		return false
	}
}

// reason says why the connection ended; call it after that.
func (q *qmpConn) reason() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}
