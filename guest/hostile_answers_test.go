package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// TestGiantAnswers: an answer that is longer than an honest one is refused by
// its length: 4 MiB of empty parts would be 100 times that in memory.
func TestGiantAnswers(t *testing.T) {
	giant := &wire.HelloReply{Protocol: wire.Protocol, Phases: map[string]int64{}}
	for i := range 300_000 {
		giant.Phases[string(binary.BigEndian.AppendUint32([]byte("a"), uint32(i)&0x7f7f7f7f))] = 1
	}
	long := &wire.HelloReply{Protocol: wire.Protocol, Version: strings.Repeat("x", 3<<20)}
	for name, hello := range map[string]*wire.HelloReply{"many phases": giant, "a long version": long} {
		dial, _ := hostileAgent(t, &hostile{hello: hello})
		grown := peak(func() {
			if c, err := Connect(t.Context(), dial); err == nil || !strings.Contains(err.Error(), "larger than max") {
				t.Errorf("%s: %v", name, err)
				if err == nil {
					c.Close()
				}
			}
		})
		t.Logf("hello with %s: the heap grew by %d KiB, the agent's half included", name, grown>>10)
	}
	info := &wire.SystemInfoReply{}
	for range 200_000 {
		info.Interfaces = append(info.Interfaces, &wire.Interface{})
	}
	dial, _ := hostileAgent(t, &hostile{info: info})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SystemInfo(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("200,000 interfaces: %v", err)
	}
}

// TestExecNobodyReads: a program's output that nobody takes stops at the
// stream's window, 512 KiB, and a program that takes no input gets 256 KiB of
// it and what gRPC may send ahead; the end comes at once where it is asked for.
func TestExecNobodyReads(t *testing.T) {
	var sent atomic.Int64
	chunk := &wire.ExecReply{Msg: &wire.ExecReply_Stdout{Stdout: make([]byte, wire.MaxChunk)}}
	dial, _ := hostileAgent(t, &hostile{stream: func(s wire.Agent_ExecServer) error {
		for s.Send(chunk) == nil {
			sent.Add(wire.MaxChunk)
		}
		return nil
	}})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := stuck{make(chan struct{}), make(chan struct{})}
	ended := make(chan error, 1)
	stdin := &counted{}
	go func() {
		_, err := c.Exec(ctx, ExecSpec{Argv: []string{"yes"}, Stdout: out, Stdin: stdin})
		ended <- err
	}()
	<-out.first
	quiet(t, &sent)
	quiet(t, &stdin.n)
	t.Logf("%d KiB of output on their way, %d KiB of input taken", sent.Load()>>10, stdin.n.Load()>>10)
	if most := int64(2*streamWindow + 4*wire.MaxChunk); sent.Load() > most {
		t.Errorf("%d bytes were taken off a program whose output nobody reads, at most %d are allowed", sent.Load(), most)
	}
	if most := int64(wire.StdinWindow + wire.MaxChunk); stdin.n.Load() > most {
		t.Errorf("%d bytes of input were read for a program that takes none, at most %d are allowed", stdin.n.Load(), most)
	}
	cancel()
	close(out.over)
	if err := <-ended; err == nil {
		t.Error("an exec that was cut off succeeded")
	}
}

// TestExecWithoutEnd: messages that say nothing, without end, cost time and
// no memory (bound: siegeBound), until the caller has enough.
func TestExecWithoutEnd(t *testing.T) {
	var sent atomic.Int64
	dial, _ := hostileAgent(t, &hostile{stream: func(s wire.Agent_ExecServer) error {
		for s.Send(&wire.ExecReply{Msg: &wire.ExecReply_Started{Started: &wire.ExecStarted{}}}) == nil {
			sent.Add(1)
		}
		return nil
	}})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	grown := peak(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := c.Exec(ctx, ExecSpec{Argv: []string{"true"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Logf("%d messages, the heap grew by %d KiB", sent.Load(), grown>>10)
	if grown > siegeBound {
		t.Errorf("the heap grew by %d bytes, at most %d are allowed", grown, siegeBound)
	}
}

// stuck is a writer that takes one write, and no second one until it is over.
type stuck struct{ first, over chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	select {
	case s.first <- struct{}{}:
		return len(p), nil
	case <-s.over:
		return 0, io.ErrClosedPipe
	}
}

// counted is input without end.
type counted struct{ n atomic.Int64 }

func (c *counted) Read(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// quiet waits until a number has not changed for half a second.
func quiet(t *testing.T, n *atomic.Int64) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for last := int64(-1); n.Load() != last; <-tick.C {
		last = n.Load()
	}
}

func TestHelloIsPrintable(t *testing.T) {
	for _, r := range "\x00\x07\x1b\x7f\u0085\u009b\u009d\u202e\u2066\u061c\u2028" {
		dial, _ := hostileAgent(t, &hostile{hello: &wire.HelloReply{Protocol: wire.Protocol, Version: "v1" + string(r)}})
		if c, err := Connect(t.Context(), dial); !errors.Is(err, ErrProtocol) || strings.ContainsRune(err.Error(), r) {
			t.Errorf("%U: %q", r, err)
			if err == nil {
				c.Close()
			}
		}
	}
}
