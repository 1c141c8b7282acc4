package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// TestJoinSaysWhoseFaultItIs: an engine that is not there is no engine that can't be
// trusted, and no token is spent on what can't be a context.
func TestJoinSaysWhoseFaultItIs(t *testing.T) {
	dumb, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := dumb.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) // whoever it is, it speaks no TLS
			_ = c.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = gone.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address, name string
		code          int
		want          string
	}{
		{gone.Addr().String(), "", exitNoEngine, "connection refused"},
		{dumb.Addr().String(), "", exitUnsafe, "arcbox engine invite"},
		{dumb.Addr().String(), "lab", exitConflict, "already"},
		{dumb.Addr().String(), "a_b", exitUsage, "letters"},
		{"[fe80::1%eth0]:1", "", exitUsage, "endpoint"},
		{"a b:1", "", exitUsage, "endpoint"},
	} {
		b, _ := contextBench(t, t.TempDir(), nil)
		if code := b.run(t, "context", "add", "lab", "ssh://lab"); code != 0 {
			t.Fatal(code)
		}
		token := wire.Token{Address: c.address, Pin: "x", Secret: "y"}
		if code := b.run(t, "engine", "join", token.String(), "--context-name", c.name); code != c.code || !strings.Contains(b.err.String(), c.want) {
			t.Errorf("%+v: exit %d, %s", c, code, b.err.String())
		}
	}
	_ = dumb.Close()
	<-done
}

// TestContextOfAName: who joined has a context, whatever name it was given, and none
// that can't be read again.
func TestContextOfAName(t *testing.T) {
	dir := t.TempDir()
	b, _ := contextBench(t, dir, nil)
	long := strings.Repeat("x", 63)
	for _, wish := range []string{"local", "lab", "LAB", long, long} {
		if err := b.addContext(t.Context(), remoteContext{Endpoint: "tcp://h:1"}, wish, false); err != nil {
			t.Errorf("%s: %v", wish, err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "arcbox", "contexts.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []remoteContext{{Name: "a b", Endpoint: "tcp://h:1"}, {Name: "x", Endpoint: "tcp://"}} {
		if err := b.addContext(t.Context(), bad, "", false); err == nil {
			t.Errorf("%v was added", bad)
		}
	}
	if err := b.addContext(t.Context(), remoteContext{Endpoint: "tcp://h:1"}, "\x1b[2J", false); err == nil {
		t.Error("an engine named a context what no name is")
	}
	after, err := os.ReadFile(filepath.Join(dir, "arcbox", "contexts.json"))
	if err != nil || string(after) != string(before) {
		t.Errorf("%v: %s", err, after)
	}
	all, err := b.readContexts()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"LAB-2", "lab", "local", "local-2", long[:58] + "-2", long}
	if got := slices.Sorted(slices.Values(all.names())); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
