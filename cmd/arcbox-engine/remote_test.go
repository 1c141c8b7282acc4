package main

import (
	"errors"
	"net"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

// TestListenRefused: what is no address is a fault of usage, one that is taken is not.
func TestListenRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for listen, want := range map[string]wire.Code{
		"tcp://" + taken.Addr().String(): wire.Code_CODE_LACKING,
		"tcp://127.0.0.1":                wire.Code_CODE_BAD_INPUT,
		"tcp://127.0.0.1:99999":          wire.Code_CODE_BAD_INPUT,
		"127.0.0.1:1":                    wire.Code_CODE_BAD_INPUT,
	} {
		_, err := openRemote(home.Home{Data: t.TempDir()}, listen, nil, nil, nil, nil)
		if r, ok := errors.AsType[*actors.Refusal](err); !ok || r.Code != want || r.Hint == "" {
			t.Errorf("%s: %v", listen, err)
		}
	}
}
