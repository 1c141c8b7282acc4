package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// server is the other end of a QMP connection, played by a test.
type server struct {
	net.Conn
	lines *bufio.Scanner
}

func newPair(t *testing.T, timeout time.Duration) (*qmpConn, *server) {
	t.Helper()
	ours, theirs := net.Pipe()
	q := newQMP(ours, timeout)
	t.Cleanup(func() {
		_ = theirs.Close()
		for range q.events { // until the reader has ended
		}
	})
	return q, &server{theirs, bufio.NewScanner(theirs)}
}

// next reads a command.
func (s *server) next(t *testing.T) (id uint64, command string) {
	t.Helper()
	var c struct {
		Execute   string          `json:"execute"`
		Arguments json.RawMessage `json:"arguments"`
		ID        uint64          `json:"id"`
	}
	if !s.lines.Scan() {
		t.Error("no command")
		return 0, ""
	}
	if err := json.Unmarshal(s.lines.Bytes(), &c); err != nil {
		t.Error(err)
	}
	return c.ID, c.Execute + string(c.Arguments)
}

func TestCallsFindTheirAnswers(t *testing.T) {
	q, s := newPair(t, 30*time.Second)
	go func() {
		first, _ := s.next(t)
		second, _ := s.next(t)
		fmt.Fprintf(s, `{"return": {}, "id": 99}`+"\n")
		fmt.Fprintf(s, `{"error": {"class": "GenericError", "desc": "no"}, "id": %d}`+"\n", second)
		fmt.Fprintf(s, `{"return": {"x": [1]}, "id": %d}`+"\n", first)
	}()
	errs := make([]error, 3) // by id
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			id, wait := q.expect()
			defer q.forget(id)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := q.send(ctx, id, "c", nil, nil); err != nil {
				t.Error(err)
			}
			if m := <-wait; m.fault != nil {
				errs[id] = m.fault
			}
		})
	}
	all.Wait()
	if (errs[1] == nil) == (errs[2] == nil) {
		t.Fatalf("errors %v: one call was refused, the other not", errs)
	}
}

func TestCall(t *testing.T) {
	q, s := newPair(t, 30*time.Second)
	go func() {
		fmt.Fprintln(s, `{"QMP": {}}`)
		fmt.Fprintln(s, `{"QMP": {}}`)
		id, command := s.next(t)
		if command != `set-action{"reboot":"reset"}` {
			t.Errorf("command %q", command)
		}
		fmt.Fprintf(s, `{"error": {"class": "CommandNotFound", "desc": "never heard"}, "id": %d}`+"\n", id)
	}()
	if err := q.greeting(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := q.call(t.Context(), "set-action", map[string]string{"reboot": "reset"})
	var refused *qmpError
	if !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		t.Fatalf("error %v", err)
	}
}

func TestCallToSomebodyWhoDoesNotRead(t *testing.T) {
	q, _ := newPair(t, 20*time.Millisecond)
	if err := q.call(t.Context(), "quit", nil); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
		t.Fatalf("error %v", err)
	}
	if !q.over() {
		t.Fatal("half a line was sent, and the connection is still in use")
	}
}

func TestConnectionThatEnds(t *testing.T) {
	q, s := newPair(t, 30*time.Second)
	go func() {
		s.next(t)
		_ = s.Close()
	}()
	if err := q.call(t.Context(), "stop", nil); !errors.Is(err, errQMPEnded) {
		t.Fatalf("call: %v", err)
	}
	if err := q.greeting(t.Context()); !errors.Is(err, errQMPEnded) {
		t.Fatalf("greeting: %v", err)
	}
	if err := q.call(t.Context(), "stop", nil); !errors.Is(err, errQMPEnded) {
		t.Fatalf("call after the end: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, line := range []string{
		``, `{}`, `[]`, `null`, `1`, `"x"`, `{"return": null}x`, `{"event": 1}`, `{"id": -1, "return": {}}`, `{"error": 5}`, `{"id": "a"}`,
	} {
		if m, err := decodeMessage([]byte(line)); err == nil {
			t.Errorf("%q gave %+v", line, m)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, line := range []string{
		`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}`,
		`{"return": {}, "id": 1}`,
		`{"error": {"class": "GenericError", "desc": "no"}, "id": 2}`,
		`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}`,
		`{"timestamp": {"seconds": 9223372036854775807, "microseconds": -1}, "event": "STOP"}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := decodeMessage(line)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if m.event == nil {
			return
		}
		if m.greeting || m.fault != nil {
			t.Fatalf("%+v is two things", m)
		}
		s := story{}
		s.note(*m.event)
		if x := s.exit(ending{}); x.Cause == "" || x.Detail == "" || x.Cause == hv.ExitKilled {
			t.Fatalf("exit %+v", x)
		}
	})
}
