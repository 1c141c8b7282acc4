package client

import (
	"context"
	"os"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv/network/netd"
)

// TestMain is also the network process that the tests start.
func TestMain(m *testing.M) {
	if os.Args[0] == "arcbox-netd" {
		os.Exit(netd.Run(context.Background(), netd.Config{Version: "test"}))
	}
	os.Exit(m.Run())
}
