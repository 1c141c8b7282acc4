//go:build linux

package vmhost_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/sim"
)

// crowd is how many connections to one guest are promised, and crowdSays what each
// carries both ways: more than its small buffer.
const (
	crowd     = 1000
	dialing   = 16 // at once, as the network process does
	crowdSays = 100 << 10
)

// TestCrowd: a thousand connections at once are all joined to the guest, carry what
// they are given, and cost no more than a flood may; hello is answered beside them.
func TestCrowd(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	pid := w.only("arcbox-vmhost")
	before := w.anonymous(pid)
	conns, errs := make([]net.Conn, crowd), make([]error, crowd)
	each := func(do func(i int) error) {
		t.Helper()
		var all sync.WaitGroup
		for i := range conns {
			all.Go(func() { errs[i] = do(i) })
		}
		all.Wait()
		for i, err := range errs {
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	begun := time.Now()
	dials := make(chan struct{}, dialing)
	each(func(i int) (err error) {
		dials <- struct{}{}
		defer func() { <-dials }()
		conns[i], err = h.Dial(w.ctx(), sim.EchoPort)
		return err
	})
	t.Logf("%d connections after %s", crowd, time.Since(begun).Round(time.Millisecond))
	idle := w.anonymous(pid) - before
	each(func(i int) error {
		_ = conns[i].SetDeadline(time.Now().Add(time.Minute))
		said := bytes.Repeat([]byte{byte(i)}, crowdSays)
		var both sync.WaitGroup
		var werr error
		both.Go(func() { _, werr = conns[i].Write(said) })
		heard := make([]byte, crowdSays)
		_, err := io.ReadFull(conns[i], heard)
		both.Wait()
		if err == nil && werr == nil && !bytes.Equal(heard, said) {
			t.Errorf("connection %d heard something else", i)
		}
		if err == nil {
			err = werr
		}
		return err
	})
	busy := w.anonymous(pid) - before
	t.Logf("%d KiB more idle, %d KiB once each has carried %d KiB both ways", idle>>10, busy>>10, crowdSays>>10)
	if max(idle, busy) > floodMemory {
		t.Errorf("at most %d KiB are allowed", floodMemory>>10)
	}
	if _, err := h.Hello(w.ctx()); err != nil {
		t.Errorf("hello: %v", err)
	}
}
