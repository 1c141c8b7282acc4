package endpoint

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type desk struct {
	*Tickets
	log    logged
	socket string
}

func startDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{log: newLogged(), socket: filepath.Join(t.TempDir(), "tickets.sock")}
	d.Tickets = NewTickets(TicketOptions{Log: slog.New(d.log)})
	lis, err := Listen(d.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		d.Close(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return d
}

// say sends text and returns the connection and the line that came back.
func (d *desk) say(t *testing.T, text string) (net.Conn, string) {
	t.Helper()
	c, err := net.Dial("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReaderSize(c, 16).ReadString('\n')
	return c, line
}

func echo(_ context.Context, c *net.UnixConn) error {
	_, err := io.Copy(c, c)
	return err
}

func TestTicketIsGoodOnce(t *testing.T) {
	d := startDesk(t)
	ticket := d.Issue(echo, ownUID())
	if len(ticket) != 64 {
		t.Errorf("a ticket of %d characters", len(ticket))
	}
	c, line := d.say(t, ticket+"\n")
	if line != "ok\n" {
		t.Fatalf("answered %q", line)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	if _, line = d.say(t, ticket+"\n"); !strings.HasPrefix(line, "error: the ticket is unknown") {
		t.Errorf("the second time: %q", line)
	}
}

func TestBytesBehindTheTicketAreTheStreams(t *testing.T) {
	d := startDesk(t)
	c, line := d.say(t, d.Issue(func(_ context.Context, c *net.UnixConn) error {
		got, err := io.ReadAll(c)
		_, werr := io.WriteString(c, strings.ToUpper(string(got)))
		return errors.Join(err, werr)
	}, ownUID())+"\nhello")
	rest, err := io.ReadAll(c)
	if line != "ok\n" || err != nil {
		t.Fatalf("answered %q, %v", line, err)
	}
	// What the test's reader took ahead is lost to it; the stream began right.
	if !strings.HasSuffix("HELLO", string(rest)) {
		t.Errorf("echoed %q", rest)
	}
}

func TestTicketsThatAreRefused(t *testing.T) {
	other := strings.Repeat("0", 64)
	for name, c := range map[string]struct{ text, want string }{
		"unknown":   {other + "\n", "error: the ticket is unknown, used or older than 10 s: ask again\n"},
		"no end":    {other + "x", "error: a ticket is 64 hexadecimal digits and a newline\n"},
		"short":     {"abc\n", ""},
		"nothing":   {"", ""},
		"endless":   {strings.Repeat("x", 10_000), "error: a ticket is 64 hexadecimal digits and a newline\n"},
		"bad bytes": {strings.Repeat("\x00", 64) + "\n", "error: the ticket is unknown, used or older than 10 s: ask again\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := startDesk(t)
			if _, line := d.say(t, c.text); line != c.want {
				t.Errorf("answered %q, want %q", line, c.want)
			}
			eventually(t, "a line in the log", func() bool { return len(d.log.all()) == 1 })
		})
	}
}

func TestTicketOfAnother(t *testing.T) {
	d := startDesk(t)
	ticket := d.Issue(echo, "uid:4242")
	if _, line := d.say(t, ticket+"\n"); !strings.HasPrefix(line, "error: the ticket was issued to uid:4242") {
		t.Errorf("answered %q", line)
	}
	if _, err := d.redeem(ticket, "uid:4242"); err == nil {
		t.Error("a ticket that was shown by a stranger is still good")
	}
}

func TestTicketExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewTickets(TicketOptions{Log: slog.New(slog.DiscardHandler)})
		early, late := d.Issue(echo, "uid:1"), d.Issue(echo, "uid:1")
		time.Sleep(ticketLife - time.Nanosecond) // the bubble's clock
		if _, err := d.redeem(early, "uid:1"); err != nil {
			t.Errorf("just in time: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if _, err := d.redeem(late, "uid:1"); err == nil {
			t.Error("redeemed after ten seconds")
		}
		if len(d.good) != 0 {
			t.Errorf("%d tickets are kept", len(d.good))
		}
	})
}

func TestTicketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewTickets(TicketOptions{Log: slog.New(slog.DiscardHandler)})
		var last string
		for range ticketsMax + 10 {
			last = d.Issue(echo, "uid:1")
		}
		if len(d.good) != ticketsMax {
			t.Errorf("%d tickets are out, want %d", len(d.good), ticketsMax)
		}
		if _, err := d.redeem(last, "uid:1"); err != nil {
			t.Errorf("the newest: %v", err)
		}
		d.Close(t.Context())
	})
}

func TestCloseEndsStreams(t *testing.T) {
	d := startDesk(t)
	began := make(chan struct{})
	c, line := d.say(t, d.Issue(func(ctx context.Context, _ *net.UnixConn) error {
		close(began)
		<-ctx.Done()
		return nil
	}, ownUID())+"\n")
	if line != "ok\n" {
		t.Fatalf("answered %q", line)
	}
	<-began
	mute, err := net.Dial("unix", d.socket) // has not shown a ticket yet
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d.Close(ctx)
	if ctx.Err() != nil {
		t.Error("Close had to give up waiting")
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}

func TestPanicInAStream(t *testing.T) {
	d := startDesk(t)
	c, _ := d.say(t, d.Issue(func(context.Context, *net.UnixConn) error { panic("boom") }, ownUID())+"\n")
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	if _, line := d.say(t, d.Issue(echo, ownUID())+"\n"); line != "ok\n" {
		t.Errorf("afterwards: %q", line)
	}
}
