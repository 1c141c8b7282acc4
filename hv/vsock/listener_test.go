package vsock

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// What is offered is accepted, refused, or closed with the listener, whoever else
// offers, accepts and closes meanwhile.
func TestListener(t *testing.T) {
	const backlog, offers = 4, 200
	ends := 0
	l := NewListener(Addr{CID: hv.CIDHost, Port: 5}, backlog, func() { ends++ })
	var all sync.WaitGroup
	all.Go(func() {
		for range offers / 2 {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				break
			}
			_ = c.Close()
		}
		_ = l.Close()
	})
	for range offers {
		all.Go(func() {
			host, guest := net.Pipe()
			if !l.Offer(host) {
				_ = host.Close()
			}
			if _, err := guest.Read(make([]byte, 1)); err == nil { // comes back when somebody closed it
				t.Error("somebody writes")
			}
		})
	}
	all.Go(func() { _ = l.Close() })
	all.Wait()
	if err := l.Close(); err != nil || ends != 1 {
		t.Errorf("%v, it ended %d times", err, ends)
	}
	if host, _ := net.Pipe(); l.Offer(host) {
		t.Error("who is closed takes one more")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if got := l.Addr().String(); got != "2:5" {
		t.Errorf("address %q", got)
	}
}

func TestListenerBacklog(t *testing.T) {
	l := NewListener(Addr{}, 2, func() {})
	defer l.Close()
	for n, want := range []bool{true, true, false} {
		if host, _ := net.Pipe(); l.Offer(host) != want {
			t.Errorf("offer %d: want %v", n, want)
		}
	}
}
