package guest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// TestMuchOutput: it comes whole and in its order, whether or not there is a
// connection for it, and a little asks for none.
func TestMuchOutput(t *testing.T) {
	const script = "seq 1 %d; echo err >&2; exit 3"
	for name, test := range map[string]struct {
		lines   int
		refused bool
		dials   int32
	}{
		"a little":        {lines: 1000, dials: 1},
		"much":            {lines: 2_000_000, dials: 2},
		"much, no second": {lines: 2_000_000, dials: 2, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, dial := realAgent(t)
			var dials atomic.Int32
			c, err := Connect(ctx, func(ctx context.Context) (net.Conn, error) {
				if dials.Add(1) > 1 && test.refused {
					return nil, errors.New("no second connection")
				}
				return dial(ctx)
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			sum, want, stderr := sha256.New(), sha256.New(), &strings.Builder{}
			for i := range test.lines {
				fmt.Fprintln(want, i+1)
			}
			spec := ExecSpec{Argv: []string{"sh", "-c", fmt.Sprintf(script, test.lines)}, Stdout: sum, Stderr: stderr}
			r, err := c.Exec(ctx, spec)
			if err != nil || r.Status != 3 || stderr.String() != "err\n" {
				t.Errorf("%+v, %v, stderr %q", r, err, stderr)
			}
			if string(sum.Sum(nil)) != string(want.Sum(nil)) {
				t.Error("the output is not what was written")
			}
			if n := dials.Load(); n != test.dials {
				t.Errorf("%d dials, want %d", n, test.dials)
			}
		})
	}
}

// TestMuchOutputUnread: a program whose output is refused ends, as with a pipe
// that nobody reads.
func TestMuchOutputUnread(t *testing.T) {
	ctx, c := connected(t)
	_, err := c.Exec(ctx, ExecSpec{Argv: []string{"yes"}, Stdout: &limited{left: 8 << 20}})
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v, want what the writer said", err)
	}
}

// limited is a writer that breaks.
type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// TestKeysBeside: a key that is of no program ends its connection, and costs
// nobody else anything.
func TestKeysBeside(t *testing.T) {
	ctx, dial := realAgent(t)
	for _, what := range []string{wire.Beside + strings.Repeat("k", wire.BesideKey), wire.Beside + strings.Repeat("\x00", wire.BesideKey)} {
		raw, err := dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if _, err := io.WriteString(raw, what); err != nil {
			t.Fatal(err)
		}
		if n, err := raw.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%q: %d bytes, %v", what, n, err)
		}
	}
}

// TestLiesBeside: what an agent says of a connection beside is checked.
func TestLiesBeside(t *testing.T) {
	started := &wire.ExecReply{Msg: &wire.ExecReply_Started{Started: &wire.ExecStarted{BesideKey: make([]byte, wire.BesideKey)}}}
	beside := &wire.ExecReply{Msg: &wire.ExecReply_StdoutBeside{StdoutBeside: true}}
	chunk := &wire.ExecReply{Msg: &wire.ExecReply_Stdout{Stdout: make([]byte, wire.MaxChunk)}}
	done := &wire.ExecReply{Msg: &wire.ExecReply_Done{Done: &wire.ExecDone{StdoutBeside: 1}}}
	much := []*wire.ExecReply{started, chunk, chunk, chunk, chunk, chunk}
	for name, replies := range map[string][]*wire.ExecReply{
		"turned unasked":          {started, beside},
		"turned twice":            append(much[:6:6], beside, beside),
		"in two places":           append(much[:6:6], beside, chunk),
		"counted where none came": {started, done},
	} {
		dial, _ := hostileAgent(t, &hostile{stream: func(s wire.Agent_ExecServer) error {
			for _, r := range replies {
				if err := s.Send(r); err != nil {
					return err
				}
			}
			<-s.Context().Done()
			return nil
		}})
		c, err := Connect(t.Context(), dial)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(t.Context(), ExecSpec{Argv: []string{"true"}}); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v, want %v", name, err, ErrProtocol)
		}
		c.Close()
	}
}
