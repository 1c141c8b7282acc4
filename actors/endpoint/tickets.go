package endpoint

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	ticketBytes = 32
	ticketLife  = 10 * time.Second
	ticketLine  = 5 * time.Second // to send the ticket, and to take the answer
	ticketsMax  = 4096
)

// TicketOptions are what Tickets needs; Log must be there.
type TicketOptions struct {
	Log         *slog.Logger
	Connections int // at once, half of them of one process; 0 means 512
}

// Tickets serves byte streams to those who hold a ticket.
type Tickets struct {
	log     *slog.Logger
	limit   int
	allowed func(uid uint32) bool
	ctx     context.Context // of every open stream
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex
	good   map[string]*ticket
	issued *list.List // of the ids in good, the oldest first
	lis    net.Listener
	conns  map[*net.UnixConn]struct{}
	closed bool
}

type ticket struct {
	open      func(ctx context.Context, conn *net.UnixConn) error
	principal string
	expiry    *time.Timer
	place     *list.Element // in issued
}

// NewTickets makes the desk; Serve opens it.
func NewTickets(o TicketOptions) *Tickets {
	ctx, cancel := context.WithCancel(context.Background())
	return &Tickets{
		log: o.Log, limit: orDefault(o.Connections, 512), allowed: ownOrRoot, ctx: ctx, cancel: cancel,
		good: map[string]*ticket{}, issued: list.New(), conns: map[*net.UnixConn]struct{}{},
	}
}

// Issue makes a ticket for a principal (what Principal returned). Whoever
// presents it, once and within ten seconds, gets its connection passed to
// open, which runs in a goroutine of its own; the connection is closed when
// open returns, or when Close cancels ctx. Where 4,096 tickets are out, the
// oldest is void.
func (t *Tickets) Issue(open func(ctx context.Context, conn *net.UnixConn) error, principal string) string {
	var raw [ticketBytes]byte
	_, _ = rand.Read(raw[:]) // never fails
	id := hex.EncodeToString(raw[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.issued.Len() >= ticketsMax {
		t.remove(t.issued.Front().Value.(string))
	}
	t.good[id] = &ticket{open, principal, time.AfterFunc(ticketLife, func() { t.expire(id) }), t.issued.PushBack(id)}
	return id
}

func (t *Tickets) expire(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(id)
}

// remove needs the lock.
func (t *Tickets) remove(id string) *ticket {
	tk := t.good[id]
	if tk != nil {
		tk.expiry.Stop()
		t.issued.Remove(tk.place)
		delete(t.good, id)
	}
	return tk
}

// redeem takes a ticket out. Shown by somebody else it is void as well: it has
// been seen by one who should not have it.
func (t *Tickets) redeem(id, principal string) (*ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tk := t.remove(id)
	if tk == nil {
		return nil, errors.New("the ticket is unknown, used or older than 10 s: ask again")
	}
	if tk.principal != principal {
		return nil, fmt.Errorf("the ticket was issued to %s, shown by %s", tk.principal, principal)
	}
	return tk, nil
}

// Serve answers on a unix socket until Close.
func (t *Tickets) Serve(lis net.Listener) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return lis.Close()
	}
	t.lis = lis
	t.mu.Unlock()
	accept := newCapped(lis, t.limit, (t.limit+1)/2, t.log)
	for {
		c, err := accept.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("endpoint: serve tickets: %w", err)
		}
		if conn := c.(*cappedConn); t.enter(conn.UnixConn) {
			go t.one(conn, "")
		} else {
			_ = conn.Close() // Close has come; nothing was said on it
		}
	}
}

func (t *Tickets) enter(c *net.UnixConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.conns[c] = struct{}{}
	t.work.Add(1)
	return true
}

// one serves one connection, whose principal is known or the kernel's to tell.
func (t *Tickets) one(conn *cappedConn, principal string) {
	defer t.work.Done()
	defer func() {
		t.mu.Lock()
		delete(t.conns, conn.UnixConn)
		t.mu.Unlock()
		_ = conn.Close() // open may have closed it, or passed it on
		if v := recover(); v != nil {
			t.log.Error("panic in a byte stream", "panic", v)
		}
	}()
	tk, err := t.greet(conn.UnixConn, principal)
	if err != nil {
		t.log.Warn("refused a byte stream", "err", err)
		return
	}
	if err := tk.open(t.ctx, conn.UnixConn); err != nil {
		t.log.Warn("a byte stream ended", "principal", tk.principal, "err", err)
	}
}

// greet reads the ticket, exactly, since what follows belongs to open, and
// answers.
func (t *Tickets) greet(c *net.UnixConn, principal string) (*ticket, error) {
	if principal == "" {
		var err error
		if principal, err = principalOf(c, t.allowed); err != nil {
			return nil, err
		}
	}
	if err := c.SetDeadline(time.Now().Add(ticketLine)); err != nil {
		return nil, fmt.Errorf("endpoint: ticket: %w", err)
	}
	var line [2*ticketBytes + 1]byte
	if _, err := io.ReadFull(c, line[:]); err != nil {
		return nil, fmt.Errorf("endpoint: read a ticket: %w", err)
	}
	tk, refused := t.redeem(string(line[:2*ticketBytes]), principal)
	if line[2*ticketBytes] != '\n' {
		refused = errors.New("a ticket is 64 hexadecimal digits and a newline")
	}
	answer := "ok\n"
	if refused != nil {
		answer = "error: " + refused.Error() + "\n"
	}
	if _, err := io.WriteString(c, answer); err != nil && refused == nil {
		return nil, fmt.Errorf("endpoint: answer a ticket: %w", err)
	}
	if refused != nil {
		return nil, refused
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("endpoint: ticket: %w", err)
	}
	return tk, nil
}

// Close stops serving, ends the streams that still run in this process (one
// that was passed on to a VM host goes on), and waits for them as long as ctx
// allows.
func (t *Tickets) Close(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	t.cancel()
	for id := range t.good {
		t.remove(id)
	}
	for c := range t.conns {
		_ = c.SetDeadline(time.Unix(1, 0)) // unblocks; one closes it
	}
	if t.lis != nil {
		_ = t.lis.Close() // Serve says why it ended
	}
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.work.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
