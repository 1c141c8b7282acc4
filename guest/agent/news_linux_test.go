package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// TestLinkNews has an interface change between two looks.
func TestLinkNews(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root gets a network of its own
	}
	runtime.LockOSThread() // and never unlocks: the thread goes, and its network with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	n, err := linkNews()
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	looks := 0
	if err := n.await(ctx, func() (bool, error) {
		if looks++; looks == 1 {
			return false, raiseLoopback()
		}
		lo, err := net.InterfaceByName("lo")
		return err == nil && lo.Flags&net.FlagUp != 0, err
	}); err != nil || looks < 2 {
		t.Errorf("after %d looks: %v", looks, err)
	}
}

// TestNewsEnd: a wait ends with its context, or with what look says.
func TestNewsEnd(t *testing.T) {
	n, err := deviceNews()
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	why, failed := errors.New("why"), errors.New("failed")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := n.await(ctx, func() (bool, error) { return false, nil }); !errors.Is(err, why) {
		t.Errorf("%v, want %v", err, why)
	}
	if err := n.await(t.Context(), func() (bool, error) { return false, failed }); !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
	if _, err := awaitInterface(time.Millisecond, net.HardwareAddr{2, 0, 0, 0, 0, 0}); err == nil || err.Error() != "no interface has the MAC 02:00:00:00:00:00" {
		t.Errorf("no such interface: %v", err)
	}
}

// TestAwaitFiles: what is written in a directory that is made meanwhile, and
// what a link leads to, is seen.
func TestAwaitFiles(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	root := t.TempDir()
	link, file := filepath.Join(root, "run/x/link"), filepath.Join(root, "var/lib/x/file")
	looked, found := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		found <- awaitFiles(ctx, func() (bool, error) {
			select {
			case looked <- struct{}{}:
			default:
			}
			text, _ := os.ReadFile(link)
			return string(text) == "text", nil
		}, filepath.Dir(link), filepath.Dir(file))
	}()
	<-looked // in vain
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	write(t, root, "var/lib/x/file", "text")
	if err := <-found; err != nil {
		t.Error(err)
	}
}

func TestAddress(t *testing.T) {
	ctx, c := serve(t, nil)
	for part, req := range map[string]*wire.AddressRequest{
		"mac":  {Mac: "x"},
		"wait": {Mac: "02:00:00:00:00:00", WaitNanos: int64(addressMost + 1)},
	} {
		_, err := c.Address(ctx, req)
		wantCode(t, err, codes.InvalidArgument, part)
	}
	if r, err := c.Address(ctx, &wire.AddressRequest{Mac: "02:00:00:00:00:00", WaitNanos: 1}); err != nil || len(r.GetAddresses()) != 0 {
		t.Errorf("an interface that is not there has %v, %v", r, err)
	}
}
