package endpoint

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// witness is a well-behaved client that is connected while others attack.
type witness struct {
	*raw
	asked int
}

// asks once, and must be answered.
func (w *witness) asks() {
	w.t.Helper()
	w.asked++
	b := batch(wire.Supervisor, &wire.ListMachines{})
	b.Senders[0].Id = "$" + strconv.Itoa(w.asked)
	w.send(batchOf(b))
	if m, err := w.reply(); err != nil {
		w.t.Fatalf("a well-behaved client got %v, %v", m, err)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Greedy clients that ask for the largest answers and read none hold no more
// than the limit, lose their streams, and cost a well-behaved client nothing.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const held, greedy, each = 16 << 20, 4, 20
	e := startEngine(t, Limits{Held: held}, ownOrRoot)
	good := &witness{raw: connected(t, e)}
	before, most := heap(), int64(0)
	var all []*raw
	for range greedy {
		all = append(all, connected(t, e))
	}
	for i := range each {
		for _, r := range all {
			b := batch(wire.Supervisor, &wire.InspectMachine{Name: giant})
			b.Senders[0].Id = "$" + strconv.Itoa(i)
			r.send(batchOf(b))
		}
		good.asks()
		most = max(most, heap()-before)
	}
	t.Logf("%d MiB were asked for; at most %d MiB were held at once, %d are allowed", greedy*each*giantBytes>>20, most>>20, held>>20)
	// An answer that is being written is there up to three times.
	if most > 3*held {
		t.Errorf("%d bytes were held", most)
	}
	lost := 0
	for _, r := range all {
		r.send(batchOf(batch(wire.Supervisor, &wire.ListMachines{})))
		m, err := r.reply()
		for _, over := m.(*wire.Machines); err == nil && !over; _, over = m.(*wire.Machines) {
			m, err = r.reply()
		}
		if status.Code(err) == codes.ResourceExhausted {
			lost++
		}
	}
	if lost == 0 {
		t.Error("nobody lost its stream")
	}
	good.asks()
}

// Requests without an answer are counted by their bytes too.
func TestUnansweredRequestsAreBounded(t *testing.T) {
	const held = 256 << 10
	e := startEngine(t, Limits{Held: held}, ownOrRoot)
	good := &witness{raw: connected(t, e)}
	r := connected(t, e)
	for i := range 1000 { // below the number that is allowed
		b := batch(wire.Supervisor, &wire.AwaitMachine{Name: strings.Repeat("a", 200)})
		b.Senders[0].Id = strconv.Itoa(i)
		r.send(batchOf(b))
		if i%100 == 0 {
			good.asks()
		}
	}
	if _, err := r.reply(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("closed with %v, want ResourceExhausted", err)
	}
	eventually(t, "the bytes back", func() bool {
		e.gateway.budget.mu.Lock()
		defer e.gateway.budget.mu.Unlock()
		return e.gateway.budget.held == 0
	})
	good.asks()
}

// The account of streams that have ended is empty.
func TestBudgetIsGivenBack(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	for range 50 {
		r := connected(t, e)
		for i := range 20 {
			b := batch(wire.Supervisor, &wire.InspectMachine{Name: "web"})
			if i%2 == 0 {
				b = batch(wire.Supervisor, &wire.AwaitMachine{Name: "web"})
			}
			b.Senders[0].Id = "$" + strconv.Itoa(i)
			r.send(batchOf(b))
		}
		if _, err := r.reply(); err != nil {
			t.Fatal(err)
		}
		_ = r.conn.Close()
	}
	eventually(t, "an empty account", func() bool {
		b := e.gateway.budget
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.held == 0 && len(b.links) == 0
	})
}

// 10,000 connections that are opened and say nothing.
func TestConnectionFlood(t *testing.T) {
	const flood = 10_000
	e := startEngine(t, Limits{Handshake: 500 * time.Millisecond}, ownOrRoot)
	good := &witness{raw: connected(t, e)}
	before, routines := heap(), runtime.NumGoroutine()
	var open []net.Conn
	for i := range flood {
		c, err := net.Dial("unix", e.socket)
		if err != nil {
			t.Fatal(err)
		}
		if open = append(open, c); len(open) > 500 {
			_ = open[0].Close()
			open = open[1:]
		}
		if i%500 == 0 {
			good.asks()
			if n := runtime.NumGoroutine() - routines; n > 4*256 {
				t.Errorf("%d goroutines more", n)
			}
		}
	}
	grown := heap() - before
	t.Logf("after %d connections: %d KiB more, %d goroutines more", flood, grown>>10, runtime.NumGoroutine()-routines)
	if grown > 32<<20 {
		t.Errorf("%d bytes more are held", grown)
	}
	for _, c := range open {
		_ = c.Close()
	}
	good.asks()
	eventually(t, "places", func() bool {
		c, err := net.Dial("unix", e.socket)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	})
}

// 10,000 streams on one connection, by a client that heeds no limit and reads
// nothing; then the same, each reset at once.
func TestStreamFlood(t *testing.T) {
	for name, reset := range map[string]bool{"left open": false, "reset at once": true} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{}, ownOrRoot)
			good := &witness{raw: connected(t, e)}
			before, routines := heap(), runtime.NumGoroutine()
			c, err := net.Dial("unix", e.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second)) // it may not be read any more
			opened := openStreams(t, c, 10_000, reset)
			good.asks()
			grown, more := heap()-before, runtime.NumGoroutine()-routines
			t.Logf("%d streams: %d KiB more, %d goroutines more", opened, grown>>10, more)
			if grown > 16<<20 || more > 64 {
				t.Error("that is too much")
			}
			good.asks()
		})
	}
}

// openStreams opens streams until it is stopped, and says how many.
func openStreams(t *testing.T, c net.Conn, n int, reset bool) int {
	t.Helper()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range n {
		block.Reset()
		for _, h := range [][2]string{
			{":method", "POST"}, {":scheme", "http"}, {":path", "/remote.Remoting/Receive"}, {":authority", "x"},
			{"content-type", "application/grpc"}, {"te", "trailers"},
		} {
			_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		id := uint32(2*i + 1)
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
		if err == nil && reset {
			err = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil {
			return i
		}
	}
	return n
}

// One process can't take all places.
func TestPlacesOfOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	l := newCapped(lis, 4, 2, slog.New(slog.DiscardHandler))
	pids := make(chan int, 16)
	l.pid = func(*net.UnixConn) int { return <-pids }
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	try := func(pid int) net.Conn {
		t.Helper()
		pids <- pid
		mine, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = mine.Close() })
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_, _ = mine.Read(make([]byte, 1))
		}()
		select {
		case c := <-accepted:
			t.Cleanup(func() { _ = c.Close() })
			return c
		case <-closed:
			return nil
		}
	}
	first := try(1)
	for i, c := range []struct {
		pid int
		in  bool
	}{{1, true}, {1, false}, {1, false}, {2, true}, {2, true}, {3, false}} {
		if in := try(c.pid) != nil; in != c.in {
			t.Errorf("connection %d, of process %d: let in: %v", i, c.pid, in)
		}
	}
	_ = first.Close()
	_ = first.Close() // counts once
	if try(1) == nil || try(1) != nil {
		t.Error("one place was free")
	}
	_ = lis.Close()
	for range accepted { // until Accept has ended
	}
}

// Many connections to the desk that never show a ticket, and many that never
// read their stream: one that holds a ticket is served.
func TestTicketFlood(t *testing.T) {
	d := startDesk(t)
	before, routines := heap(), runtime.NumGoroutine()
	var mute []net.Conn
	for range 200 {
		c, err := net.Dial("unix", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		mute = append(mute, c)
	}
	endless := func(ctx context.Context, c *net.UnixConn) error {
		for {
			if _, err := c.Write(make([]byte, 32<<10)); err != nil {
				return nil
			}
		}
	}
	for range 50 {
		c, err := net.Dial("unix", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, d.Issue(endless, ownUID())+"\n"); err != nil {
			t.Fatal(err)
		}
		mute = append(mute, c)
	}
	for range 3 * ticketsMax { // asked for and never used
		d.Issue(endless, ownUID())
	}
	c, err := net.Dial("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(c, d.Issue(echo, ownUID())+"\nhello")
	_ = c.(*net.UnixConn).CloseWrite()
	if got, readErr := io.ReadAll(c); err != nil || readErr != nil || string(got) != "ok\nhello" {
		t.Errorf("a well-behaved client got %q, %v, %v", got, err, readErr)
	}
	grown, more := heap()-before, runtime.NumGoroutine()-routines
	t.Logf("%d connections, %d tickets: %d KiB more, %d goroutines more", len(mute), 3*ticketsMax, grown>>10, more)
	if grown > 16<<20 || more > 2*len(mute) {
		t.Error("that is too much")
	}
	if n, m := len(d.good), d.issued.Len(); n > ticketsMax || n != m {
		t.Errorf("%d tickets are out, %d in order", n, m)
	}
}
