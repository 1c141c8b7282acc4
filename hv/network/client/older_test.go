package client

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	vmapi "github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// recorded are the lines of a session of some day (package hv/network/api): what a
// network process said, and what an engine did.
func recorded(t *testing.T, kind string) []string {
	t.Helper()
	data, err := os.ReadFile("../api/testdata/session.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, `{"`+kind+`"`) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no line of the kind %s is recorded", kind)
	}
	return lines
}

// TestAdoptsAnOlderProcess: a network process that speaks as recorded is found by
// today's engine, is told in recorded words what belongs to it, and is understood.
func TestAdoptsAnOlderProcess(t *testing.T) {
	dir, err := os.MkdirTemp("", "netd") // short: sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, vmapi.HostSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	told, over := make(chan string, 8), make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := c.Write([]byte(strings.Join(recorded(t, "hello"), "") + `{"weather":{}}` + "\n" + recorded(t, "state")[0])); err != nil {
			t.Error(err)
		}
		for s := bufio.NewScanner(c); s.Scan(); {
			told <- s.Text() + "\n"
		}
	}()
	heard := make(chan State, 8)
	n := New(Options{Bin: "/none", Dir: dir, RunDir: dir, Log: slog.New(slog.DiscardHandler), Changed: func(_ string, s State) { heard <- s }})
	set := recorded(t, "set")[0]
	line, err := api.NewLines(bytes.NewReader([]byte(set))).Next()
	if err != nil {
		t.Fatal(err)
	}
	n.Set(*line.Set)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go n.Run(ctx)
	for _, want := range []string{set, recorded(t, "all")[0]} {
		if got := <-told; got != want {
			t.Errorf("it was told %swant %s", got, want)
		}
	}
	if s := <-heard; !s.Linked || s.Trouble != "" || len(s.Forwards) != 3 || s.Forwards[1].Error == "" || s.Denied != 2 {
		t.Errorf("heard: %+v", s)
	}
	n.Drop(line.Set.ID)
	if got, want := <-told, recorded(t, "drop")[0]; got != want {
		t.Errorf("it was told %swant %s", got, want)
	}
	cancel()
	<-over
}
