package guest

import (
	"errors"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// A host that runs these tests has no disk of a machine, and is never trimmed.
func TestTrimWithoutADisk(t *testing.T) {
	ctx, c := connected(t)
	if _, err := c.Trim(ctx); err == nil || !strings.Contains(err.Error(), "no disk of its own") {
		t.Errorf("trim: %v", err)
	}
	if _, err := c.Grow(ctx, 1<<30); err == nil || !strings.Contains(err.Error(), "no disk of its own") {
		t.Errorf("grow: %v", err)
	}
	info, err := c.SystemInfo(ctx)
	if err != nil || info.GetData() != nil {
		t.Errorf("its disk is %v, %v", info.GetData(), err)
	}
}

func TestTrimOfAnOlderAgent(t *testing.T) {
	dial, _ := hostileAgent(t, &hostile{hello: &wire.HelloReply{Protocol: wire.Protocol, Version: "old"}})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Trim(t.Context()); !errors.Is(err, ErrUnable) {
		t.Errorf("trim: %v", err)
	}
	if _, err := c.Grow(t.Context(), 1<<30); !errors.Is(err, ErrUnable) {
		t.Errorf("grow: %v", err)
	}
}
