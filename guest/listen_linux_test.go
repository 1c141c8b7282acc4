package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// TestListen: who connects in the guest is joined with what the host makes of the key;
// the socket is its owner's, and goes with whoever wanted it.
func TestListen(t *testing.T) {
	ctx, dial := realAgent(t)
	c, err := Connect(ctx, dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path := filepath.Join(t.TempDir(), "s")
	listening, stop := context.WithCancel(ctx)
	ready, over := make(chan struct{}), make(chan error, 1)
	go func() {
		over <- c.Listen(listening, path, func() { close(ready) }, func(key Key) {
			go func() {
				far, err := Take(ctx, dial, key)
				if err != nil {
					t.Error(err)
					return
				}
				defer far.Close()
				_, _ = io.Copy(far, far)
			}()
		})
	}()
	select {
	case <-ready:
	case err := <-over:
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	text := strings.Repeat("hello ", 100_000)
	for range 3 {
		near, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(near, text)
			_ = near.(*net.UnixConn).CloseWrite()
		}()
		if got, err := io.ReadAll(near); err != nil || string(got) != text {
			t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
		}
		near.Close()
	}
	if err := c.Listen(ctx, path, nil, nil); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("where somebody listens: %v", err)
	}
	if err := c.Listen(ctx, "relative", nil, nil); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("a relative path: %v", err)
	}
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The agent hears of it a moment later; then the path is free for another.
	again, end := context.WithCancel(ctx)
	defer end()
	for err = errors.New("not yet"); err != nil && ctx.Err() == nil; {
		err = c.Listen(again, path, end, nil)
		if again.Err() != nil {
			err = nil
		}
	}
}

// keys is an agent whose keys are of any length.
type keys struct {
	hostile
	key []byte
}

func (k *keys) Listen(_ *wire.ListenRequest, s grpc.ServerStreamingServer[wire.ListenReply]) error {
	for _, key := range [][]byte{nil, k.key} {
		if err := s.Send(&wire.ListenReply{Key: key}); err != nil {
			return err
		}
	}
	return nil
}

func TestListenHostile(t *testing.T) {
	for _, n := range []int{0, wire.BesideKey - 1, wire.BesideKey + 1, maxShort} {
		dial, _ := hostileAgent(t, &keys{hostile{hello: &wire.HelloReply{Protocol: 1, Abilities: []string{wire.AbilityListen}}}, make([]byte, n)})
		c, err := Connect(t.Context(), dial)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Listen(t.Context(), "/s", func() {}, func(Key) { t.Errorf("a key of %d bytes is taken", n) })
		if err == nil || n < maxShort && !errors.Is(err, ErrProtocol) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
		c.Close()
	}
	dial, _ := hostileAgent(t, &hostile{})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Listen(t.Context(), "/s", nil, nil); !errors.Is(err, ErrUnable) {
		t.Errorf("an old agent: %v", err)
	}
}
