package guest

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// listens is an agent that says of its guest what it likes.
type listens struct {
	hostile
	replies []*wire.ListenersReply
}

func (l *listens) Listeners(_ *wire.ListenersRequest, s grpc.ServerStreamingServer[wire.ListenersReply]) error {
	for _, r := range l.replies {
		if err := s.Send(r); err != nil {
			return err
		}
	}
	return nil
}

func port(n uint32, addr ...byte) *wire.Listener { return &wire.Listener{Port: n, Address: addr} }

func TestListeners(t *testing.T) {
	able := &wire.HelloReply{Protocol: 1, Abilities: []string{wire.AbilityListeners}}
	many := &wire.ListenersReply{}
	for n := range uint32(wire.MaxListeners + 1) {
		many.Listeners = append(many.Listeners, port(n+1))
	}
	long := &wire.ListenersReply{Listeners: []*wire.Listener{port(1, make([]byte, maxShort)...)}}
	for name, test := range map[string]struct {
		list []*wire.Listener
		r    *wire.ListenersReply
		says string // "" = good
	}{
		"none":        {},
		"good":        {list: []*wire.Listener{port(80), port(65535, 172, 17, 0, 1)}},
		"port 0":      {list: []*wire.Listener{port(0)}, says: "port 0"},
		"a high port": {list: []*wire.Listener{port(65536)}, says: "port 65536"},
		"twice":       {list: []*wire.Listener{port(80), port(80, 10, 0, 0, 1)}, says: "each once"},
		"odd address": {list: []*wire.Listener{port(80, 1, 2, 3)}, says: "address of 3 bytes"},
		"multicast":   {list: []*wire.Listener{port(80, 224, 0, 0, 1)}, says: "that is listened at"},
		"anywhere":    {list: []*wire.Listener{port(80, 0, 0, 0, 0)}, says: "that is listened at"},
		"many":        {r: many, says: "at most 64"},
		"long":        {r: long, says: "larger than max"},
	} {
		if test.r == nil {
			test.r = &wire.ListenersReply{Listeners: test.list, More: 7}
		}
		dial, _ := hostileAgent(t, &listens{hostile: hostile{hello: able}, replies: []*wire.ListenersReply{test.r}})
		c, err := Connect(t.Context(), dial)
		if err != nil {
			t.Fatal(err)
		}
		var got []Listener
		heard := 0
		err = c.Listeners(t.Context(), func(list []Listener, more uint32) {
			got = list
			if heard++; more != 7 {
				t.Errorf("%s: %d more", name, more)
			}
		})
		switch {
		case err == nil:
			t.Errorf("%s: a stream that ended is no error", name)
		case test.says == "" && (heard != 1 || len(got) != len(test.list)):
			t.Errorf("%s: %v, %v", name, got, err)
		case test.says != "" && (heard != 0 || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
		if name == "good" && !slices.Contains(got, Listener{65535, netip.MustParseAddr("172.17.0.1")}) {
			t.Errorf("%v", got)
		}
		c.Close()
	}
	dial, _ := hostileAgent(t, &hostile{})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Listeners(t.Context(), nil); !errors.Is(err, ErrUnable) {
		t.Errorf("an old agent: %v", err)
	}
}
