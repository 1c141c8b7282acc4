package netd

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	"github.com/arcboxlabs/arcbox-engine/hv/network/lease"
)

const patience = 20 * time.Second

func testDaemon(t *testing.T) *daemon {
	t.Helper()
	d, err := newDaemon("test", slog.New(slog.DiscardHandler), network.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// begin begins a session, and gives the engine's end of it.
func begin(t *testing.T, d *daemon) (net.Conn, *api.Lines) {
	t.Helper()
	here, there := net.Pipe()
	s, over := d.newSession(there), make(chan struct{})
	go func() {
		defer close(over)
		_ = s.serve()
	}()
	t.Cleanup(func() {
		_ = here.Close()
		<-over
	})
	_ = here.SetDeadline(time.Now().Add(patience))
	lines := api.NewLines(here)
	if hello, err := lines.Next(); err != nil || hello.Hello == nil {
		t.Fatalf("%+v, %v", hello, err)
	}
	return here, lines
}

func testMachine(t *testing.T, name string) *api.Machine {
	t.Helper()
	a, err := lease.NewPool().Take(name)
	if err != nil {
		t.Fatal(err)
	}
	return &api.Machine{ID: name, Name: name, MAC: lease.MAC(name), Address: a.String(), Link: t.TempDir() + "/link", Host: t.TempDir()}
}

// text is what Write makes of lines.
func text(t *testing.T, lines ...api.Line) string {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		if err := api.Write(&b, l); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// What an engine has said counts for nothing once a newer one has begun, and the
// newer one is told of all that there is.
func TestSessionsFollowEachOther(t *testing.T) {
	d := testDaemon(t)
	a, b := testMachine(t, "a"), testMachine(t, "b")
	old, _ := begin(t, d)
	said := text(t, api.Line{Set: a}) + strings.Repeat(text(t, api.Line{All: true}), 100)
	go func() { _, _ = old.Write([]byte(said)) }()
	for range 20 {
		c, lines := begin(t, d)
		go func() { _, _ = c.Write([]byte(text(t, api.Line{Set: b}, api.Line{All: true}))) }()
		for {
			l, err := lines.Next()
			if err != nil {
				t.Fatal(err)
			}
			if l.State != nil && l.State.ID == "b" {
				break
			}
		}
		if _, ok := d.state("b"); !ok {
			t.Fatal("what the newest engine said is undone")
		}
	}
}

// A policy is told once connections are held against it, whatever it was before.
func TestPolicyIsTold(t *testing.T) {
	d := testDaemon(t)
	m := testMachine(t, "a")
	c, lines := begin(t, d)
	for _, policy := range []string{"deny", "10.0.0.0/8:443,dns", "", "deny"} {
		m.Egress = policy
		want := policy
		if want == "" {
			want = "allow"
		}
		if _, err := c.Write([]byte(text(t, api.Line{Set: m}))); err != nil {
			t.Fatal(err)
		}
		for told := ""; told != want; { // what was under way of the one before comes first
			l, err := lines.Next()
			if err != nil {
				t.Fatal(err)
			}
			if l.State != nil {
				told = l.State.Egress
			}
		}
	}
}
