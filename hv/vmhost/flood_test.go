//go:build linux

package vmhost_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/sim"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// What a VM host may take under attack, beyond what it has at rest: 64 MiB of
// anonymous memory (128 unfinished requests of 64 KiB, 1,280 lasting connections
// with their stacks and small buffers, 128 large ones, and garbage), and 1,536
// connections, each one descriptor; a sim has both ends of 1,280 to its guest.
const (
	floodMemory = 64 << 20 * raceFactor
	floodFDs    = 1536 + 2*1280 + 64
)

// floods are what a hostile caller does with one connection. It never reads.
var floods = map[string]struct {
	conns int
	say   []byte
}{
	"silence":         {10_000, nil},
	"half a request":  {10_000, []byte(`{"op":"kil`)},
	"a giant line":    {1_000, []byte(`{"op":"` + strings.Repeat("x", 2*api.MaxLine))},
	"no request":      {3_000, []byte("GET / HTTP/1.1\r\n\r\n\n")},
	"unknown version": {3_000, []byte(`{"op":"hello","version":99,"proto":"v9"}` + "\n")},
	"wait":            {3_000, []byte(`{"op":"wait"}` + "\n")},
	"dial":            {2_000, fmt.Appendf(nil, `{"op":"dial","port":%d}`+"\n%s", sim.EchoPort, strings.Repeat("x", 32<<10))},
}

// TestFloods: whatever callers do, the VM host stays bounded, another caller is
// answered, and kill is obeyed, so that no engine has to kill the VM host itself,
// which loses the exit note.
func TestFloods(t *testing.T) {
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			h := w.launch()
			pid := w.only("arcbox-vmhost")
			before := w.anonymous(pid)
			t.Cleanup(func() {
				if t.Failed() {
					said, _ := client.Tail(w.place(), api.ErrFile, 4<<10)
					t.Log(said)
				}
			})
			f := w.flood(flood.conns, flood.say, false)
			f.await()
			w.eventually("hello is answered", func() bool { // it may be cut off, as any caller
				_, err := h.Hello(w.ctx())
				return err == nil
			})
			fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			grown := w.anonymous(pid) - before
			t.Logf("%d connections: %d KiB more, %d descriptors", f.made.Load(), grown>>10, len(fds))
			if grown > floodMemory || len(fds) > floodFDs {
				t.Errorf("at most %d bytes and %d descriptors are allowed", floodMemory, floodFDs)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := h.Kill(ctx); err != nil {
				t.Errorf("kill: %v", err)
			}
			f.end()
			w.eventually("the lock to be free", w.free)
			if note, err := client.ReadNote(w.place()); err != nil || note == nil || note.Cause != hv.ExitKilled {
				t.Errorf("note: %+v, %v", note, err)
			}
		})
	}
}

// flood is a caller with very many connections, which it makes anew again and
// again, unless it holds those that it has.
type flood struct {
	w    *world
	say  []byte
	all  sync.WaitGroup
	once sync.Once
	full chan struct{}
	stop chan struct{}
	made atomic.Int64
}

func (w *world) flood(conns int, say []byte, holds bool) *flood {
	w.t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		w.t.Fatal(err)
	}
	conns = min(conns, int(limit.Cur)-256) // as many as this process may hold
	f := &flood{w: w, say: say, full: make(chan struct{}), stop: make(chan struct{})}
	f.all.Go(func() {
		open, pace := make([]net.Conn, conns), time.NewTicker(5*time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i = (i + 1) % conns {
			select {
			case <-f.stop:
				for _, c := range open {
					if c != nil {
						_ = c.Close()
					}
				}
				return
			default:
			}
			if open[i] != nil {
				_ = open[i].Close()
				open[i] = nil
			}
			open[i] = f.connect()
			f.made.Add(1)
			if i == conns-1 {
				f.once.Do(func() { close(f.full) })
			}
			select {
			case <-f.full: // it goes on, and leaves its victim some of the processors
				if holds {
					<-f.stop
				}
				<-pace.C
			default:
			}
		}
	})
	w.t.Cleanup(f.end)
	return f
}

// connect makes a connection; nil where there is no room for it.
func (f *flood) connect() net.Conn {
	c, err := net.DialTimeout("unix", filepath.Join(f.w.spec.RunDir, api.HostSocket), time.Second)
	if err != nil {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = c.Write(f.say) // it may have been turned away
	return c
}

// await waits until all connections were made once.
func (f *flood) await() {
	f.w.t.Helper()
	select {
	case <-f.full:
	case <-time.After(time.Minute):
		f.w.t.Fatal("the flood does not get through")
	}
}

func (f *flood) end() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.all.Wait()
}

// anonymous is a process's anonymous memory in bytes.
func (w *world) anonymous(pid int) int64 {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	w.t.Fatal("no RssAnon")
	return 0
}

// TestHalfARequest: who says half and no more, or is reset, ends only itself.
func TestHalfARequest(t *testing.T) {
	w := newWorld(t, "")
	h := w.launch()
	silent, err := net.Dial("unix", filepath.Join(w.spec.RunDir, api.HostSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if _, err := silent.Write([]byte(`{"op":"hel`)); err != nil {
		t.Fatal(err)
	}
	_ = silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, _, err := api.ReadLine(silent) // after the five seconds that a request may take
	if err != nil || !strings.Contains(string(line), "bad-request") {
		t.Errorf("half a request: %q, %v", line, err)
	}
	if _, err := h.Hello(w.ctx()); err != nil {
		t.Errorf("hello: %v", err)
	}
}

// TestKillWhileItStarts: thousands who wait for the driver hold up no kill.
func TestKillWhileItStarts(t *testing.T) {
	w := newWorld(t, "start-takes=1h")
	ctx, cancel := context.WithCancel(w.ctx())
	done := make(chan error, 1)
	lock := w.lock()
	go func() {
		_, _, err := client.Launch(ctx, w.bin, lock, w.spec)
		done <- err
	}()
	sock := filepath.Join(w.spec.RunDir, api.HostSocket)
	w.eventually("it listens", func() bool { return unix.Access(sock, unix.F_OK) == nil })
	f := w.flood(3_000, []byte(`{"op":"hello"}`+"\n"), true) // each waits for the start
	f.await()
	if err := client.Connect(w.place()).Kill(w.ctx()); err != nil {
		t.Errorf("kill: %v", err)
	}
	f.end()
	if err := <-done; err == nil {
		t.Error("a launch that was killed succeeded")
	}
	cancel()
	w.eventually("the lock to be free", w.free)
	if note, err := client.ReadNote(w.place()); err != nil || note == nil || note.Cause != hv.ExitKilled {
		t.Errorf("note: %+v, %v", note, err)
	}
}
