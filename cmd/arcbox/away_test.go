package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
)

// An engine that says no hello is awaited where a service manager starts it, which
// a person is told; where it runs already, it hangs.
func TestAnEngineThatItsServiceStarts(t *testing.T) {
	for _, c := range []struct {
		name    string
		holds   bool
		answers time.Duration // 0 = never
		args    string
		exit    int
		after   time.Duration
		err     string
	}{
		{"it starts slowly", true, 17 * time.Second, "list -q", 0, 20 * time.Second, ""},
		{"a person is told", true, 17 * time.Second, "list", 0, 20 * time.Second, "waiting up to 1m0s for it"},
		{"it never answers", true, 0, "list", exitNoEngine, dialTime + awayTime, "does not answer after 1m0s"},
		{"nobody starts it", false, 17 * time.Second, "list", exitNoEngine, dialTime, "said nothing within 5s"},
		{"engine status does not wait", true, 17 * time.Second, "engine status", exitNoEngine, dialTime, "said nothing within 5s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, began := newBench(t, nil), time.Now()
				b.connect = func(ctx context.Context, _ client.Door) (engine, error) {
					if c.answers > 0 && time.Since(began) > c.answers {
						return &fakeEngine{answer: world}, nil
					}
					<-ctx.Done()
					return nil, context.Cause(ctx)
				}
				b.host.holds = func(string) bool { return c.holds }
				code := b.run(t, strings.Fields(c.args)...)
				if d := time.Since(began); code != c.exit || d != c.after || !strings.Contains(b.err.String(), c.err) {
					t.Errorf("exit %d after %s, %q", code, d, b.err.String())
				}
			})
		})
	}
}

// Who listens for itself is no service manager, and neither is nobody.
func TestWhoHoldsASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if heldByManager(path) {
		t.Error("where nobody listens")
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if heldByManager(path) {
		t.Error("where this test does")
	}
}

// What many commands of one line wait for is said once, and a lost engine is an
// engine that can't be reached.
func TestAwayIsToldOnce(t *testing.T) {
	b := newBench(t, nil)
	tell := b.telling()
	tell("waiting")
	tell("waiting")
	tell("waiting longer")
	if got := b.err.String(); got != "waiting\nwaiting longer\n" {
		t.Errorf("%q", got)
	}
	if f := understood(client.ErrAway); f.code != exitNoEngine || f.hint != "arcbox engine start" {
		t.Errorf("%+v", f)
	}
}
