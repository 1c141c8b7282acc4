package client_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var errEnough = errors.New("enough")

// counter checks that records come one by one, and ends at the last.
func counter(t *testing.T, from, to uint64, reached func(seq uint64)) func([]*wire.Record) error {
	next := from
	return func(records []*wire.Record) error {
		for _, r := range records {
			if r.Seq != next {
				t.Errorf("record %d came where %d was due", r.Seq, next)
				return errEnough
			}
			next++
			reached(r.Seq)
		}
		if next > to {
			return errEnough
		}
		return nil
	}
}

func TestFollowStaysWithinItsCredit(t *testing.T) {
	socket := socketOf(t)
	e := startEngine(t, socket, newHistory(5000), nil)
	c := dial(t, socket)
	err := c.Follow(t.Context(), &wire.QueryJournal{After: 10}, counter(t, 11, 5000, func(uint64) {}))
	if !errors.Is(err, errEnough) {
		t.Errorf("ended with %v", err)
	}
	select {
	case what := <-e.breach:
		t.Error(what)
	default:
	}
}

// TestFollowOverRestarts cuts the connection at several records, also in the
// middle of what was sent, and looks for gaps and doubles.
func TestFollowOverRestarts(t *testing.T) {
	socket := socketOf(t)
	h := newHistory(1000)
	e := startEngine(t, socket, h, nil)
	c := dial(t, socket)
	cuts := map[uint64]bool{1: true, 200: true, 333: true, 1000: true, 1700: true}
	each := counter(t, 1, 2000, func(seq uint64) {
		if !cuts[seq] {
			return
		}
		e.stop()
		e = startEngine(t, socket, h, nil)
		if seq == 1000 {
			h.grow(1000)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Follow(ctx, &wire.QueryJournal{}, each); !errors.Is(err, errEnough) {
		t.Errorf("ended with %v", err)
	}
}

func TestFollowSeesWhatIsNew(t *testing.T) {
	socket := socketOf(t)
	h := newHistory(1)
	startEngine(t, socket, h, nil)
	c := dial(t, socket)
	each := counter(t, 1, 20, func(uint64) { h.grow(1) })
	if err := c.Follow(t.Context(), &wire.QueryJournal{}, each); !errors.Is(err, errEnough) {
		t.Errorf("ended with %v", err)
	}
}

func TestFollowEnds(t *testing.T) {
	socket := socketOf(t)
	e := startEngine(t, socket, newHistory(1), nil)
	c := dial(t, socket)
	err := c.Follow(t.Context(), &wire.QueryJournal{Machine: "nobody"}, nil)
	if r := new(client.RefusedError); !errors.As(err, &r) || r.Code != wire.Code_CODE_NOT_FOUND {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Follow(ctx, &wire.QueryJournal{}, func([]*wire.Record) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	err = c.Follow(t.Context(), &wire.QueryJournal{}, func([]*wire.Record) error { e.stop(); return nil }, client.GiveUpAfter(1))
	if !errors.Is(err, client.ErrDisconnected) || !errors.Is(err, client.ErrAway) {
		t.Errorf("given up: %v", err)
	}
}

func TestOpenTicket(t *testing.T) {
	socket := socketOf(t)
	startEngine(t, socket, newHistory(0), nil)
	desk := endpoint.NewTickets(endpoint.TicketOptions{Log: slog.New(slog.DiscardHandler)})
	path := filepath.Join(t.TempDir(), "t.sock")
	lis, err := endpoint.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- desk.Serve(lis) }()
	defer func() {
		desk.Close(context.Background())
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c := dial(t, socket)
	id := desk.Issue(func(_ context.Context, conn *net.UnixConn) error {
		_, err := io.WriteString(conn, "at once\n")
		return err
	}, ownUID())
	conn, err := c.OpenTicket(t.Context(), &wire.Ticket{Socket: path, Ticket: id})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "at once\n" {
		t.Errorf("read %q, %v", got, err)
	}
	_ = conn.Close()
	if _, err = c.OpenTicket(t.Context(), &wire.Ticket{Socket: path, Ticket: id}); err == nil || !strings.Contains(err.Error(), "used") {
		t.Errorf("the second time: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	if _, err = c.OpenTicket(ctx, &wire.Ticket{Socket: path, Ticket: id}); err == nil {
		t.Error("opened after ctx was over")
	}
}
