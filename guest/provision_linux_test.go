package guest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func TestProvision(t *testing.T) {
	ctx, c := connected(t)
	p := Provision{Key: "k-0", Script: []byte("echo working; exit 4"), Timeout: testPatience}
	for range 2 {
		var out bytes.Buffer
		got, err := c.Provision(ctx, p, &out)
		if err != nil || got.Status != 4 || out.String() != "working\n" || string(got.Tail) != "working\n" || got.Took <= 0 {
			t.Errorf("%+v, %q, %v", got, out.String(), err)
		}
	}
	if _, err := c.Provision(ctx, Provision{Key: "K"}, nil); err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Errorf("a bad key: %v", err)
	}
	full := errors.New("the disk is full")
	if _, err := c.Provision(ctx, p, failing{full}); !errors.Is(err, full) {
		t.Errorf("output that nobody takes: %v", err)
	}
	c.hello.Abilities = nil
	if _, err := c.Provision(ctx, p, nil); !errors.Is(err, ErrUnable) {
		t.Errorf("an older agent: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// liar answers a set-up with whatever it is told to.
type liar struct {
	wire.AgentClient
	replies []*wire.ProvisionReply
	err     error
}

func (l *liar) Provision(context.Context, *wire.ProvisionRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[wire.ProvisionReply], error) {
	return &lies{liar: l}, nil
}

type lies struct {
	grpc.ServerStreamingClient[wire.ProvisionReply]
	*liar
}

func (l *lies) Recv() (*wire.ProvisionReply, error) {
	if len(l.replies) == 0 {
		return nil, cmp.Or(l.err, io.EOF)
	}
	r := l.replies[0]
	l.replies = l.replies[1:]
	return r, nil
}

func TestProvisionByALiar(t *testing.T) {
	done := func(d *wire.ProvisionDone) *wire.ProvisionReply {
		return &wire.ProvisionReply{Msg: &wire.ProvisionReply_Done{Done: d}}
	}
	for name, c := range map[string]struct {
		reply *wire.ProvisionReply
		err   error
		want  error
	}{
		"no result":      {nil, nil, ErrProtocol},
		"a long tail":    {done(&wire.ProvisionDone{Tail: make([]byte, wire.MaxTail+1)}), nil, ErrProtocol},
		"time went back": {done(&wire.ProvisionDone{TookNanos: -1}), nil, ErrProtocol},
		"a wrong signal": {done(&wire.ProvisionDone{Signal: 65}), nil, ErrProtocol},
		"a wrong status": {done(&wire.ProvisionDone{Status: 256}), nil, ErrProtocol},
		"occupied":       {nil, status.Error(codes.FailedPrecondition, "x"), ErrOccupied},
		"gone":           {nil, status.Error(codes.Unavailable, "x"), ErrGone},
	} {
		l := &liar{err: c.err}
		if c.reply != nil {
			l.replies = append(l.replies, c.reply)
		}
		client := &Client{agent: l, hello: &wire.HelloReply{Abilities: []string{wire.AbilityProvision}}}
		if _, err := client.Provision(t.Context(), Provision{Key: "k"}, &bytes.Buffer{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := &liar{replies: []*wire.ProvisionReply{done(&wire.ProvisionDone{Error: strings.Repeat("x", 1<<20)})}}
	client := &Client{agent: long, hello: &wire.HelloReply{Abilities: []string{wire.AbilityProvision}}}
	if got, err := client.Provision(t.Context(), Provision{Key: "k"}, nil); err != nil || len(got.Error) > 2000 {
		t.Errorf("%d bytes of error, %v", len(got.Error), err)
	}
}
