package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestClients: as all lists, and no time is made up.
func TestClients(t *testing.T) {
	clients := &wire.RemoteClients{Listen: "h:1", Clients: []*wire.RemoteClient{
		{Name: "wall", Role: "viewer", Connections: 2, ExpiresUnixNanos: ago(-time.Hour)}, {Name: "laptop", Role: "admin", Invited: true}, nil,
	}}
	for args, want := range map[string]string{
		"":                                "NAME ROLE CONNECTIONS EXPIRES wall viewer 2 open 2026-01-31T13:00:00Z (in 60m) laptop admin invited - - - 0 open -",
		"-q --filter role=viewer":         "wall",
		"--sort -connections -q":          "wall laptop",
		"--format {{.name}},{{.expires}}": "wall,2026-01-31T13:00:00Z laptop, ,",
	} {
		b := newBench(t, answers(clients, nil))
		code := b.run(t, append([]string{"engine", "clients"}, strings.Fields(args)...)...)
		if d := cmp.Diff(strings.Fields(want), strings.Fields(b.out.String())); code != 0 || d != "" {
			t.Errorf("%s: exit %d, %s%s", args, code, d, b.err.String())
		}
	}
	b := newBench(t, answers(&wire.RemoteClients{}, nil))
	if code := b.run(t, "engine", "clients", "--format", "json"); code != 0 || strings.TrimSpace(b.out.String()) != "[]" || !strings.Contains(b.err.String(), "--listen") {
		t.Errorf("exit %d, %q, %q", code, b.out.String(), b.err.String())
	}
	b = newBench(t, answers(clients, nil))
	if code := b.run(t, "engine", "revoke", "a b"); code != exitUsage || !strings.Contains(b.err.String(), `client "a b"`) || !strings.Contains(b.err.String(), "arcbox engine clients") {
		t.Errorf("exit %d, %q", code, b.err.String())
	}
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
