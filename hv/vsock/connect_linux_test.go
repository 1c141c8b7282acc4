package vsock

import (
	"bytes"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
)

// connectClient serves the device's CONNECT socket and is one client of it.
func connectClient(r *rig) net.Conn {
	r.Helper()
	path := filepath.Join(r.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		r.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.d.ServeConnect(l) }()
	r.Cleanup(func() {
		_ = l.Close()
		_ = r.d.Close()
		if err := <-done; err != nil {
			r.Errorf("ServeConnect: %v", err)
		}
	})
	c, err := net.Dial("unix", path)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

// What the client sends together with its line, before the answer and after it
// arrives whole and in order, and in packets of a good size: the buffer of the
// line must not be the buffer of the data.
func TestConnectCarriesWhatComesWithTheLine(t *testing.T) {
	r := newRunningRig(t, Options{})
	client := connectClient(r)
	sent := make([]byte, 2<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	const early = 11 // fits in the buffer of the line
	wrote := make(chan error, 1)
	go func() {
		_, err := client.Write(append([]byte("CONNECT 1024\n"), sent[:early]...))
		if err == nil {
			_, err = client.Write(sent[early:])
		}
		if err == nil {
			err = client.(*net.UnixConn).CloseWrite()
		}
		wrote <- err
	}()
	p := r.expect(opRequest)
	if p.dstPort != 1024 {
		t.Fatalf("the guest was asked for port %d", p.dstPort)
	}
	r.send(p.answer(opResponse), nil)
	var got []byte
	packets := 0
	for p = r.receive(); p.op != opShutdown; p = r.receive() {
		if p.op != opData {
			t.Fatalf("op %d in the data", p.op)
		}
		got = append(got, p.data...)
		packets++
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d arrived, or others", len(got), len(sent))
	}
	// The sender's socket may hand out small pieces now and then.
	if most := 4 * len(sent) / rigBuffer; packets > most {
		t.Errorf("%d packets for %d bytes: at most %d are expected", packets, len(sent), most)
	}
}
