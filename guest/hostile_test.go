package guest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// assault is what a hostile agent does to one client: raw HTTP/2, behind the
// settings of both sides. It ends when its connection does.
type assault struct {
	*http2.Framer
	conn net.Conn
	sent atomic.Int64 // bytes that were taken off it
	hdrs bytes.Buffer
	enc  *hpack.Encoder
}

// Write implements io.Writer for the framer.
func (a *assault) Write(p []byte) (int, error) {
	n, err := a.conn.Write(p)
	a.sent.Add(int64(n))
	return n, err
}

func (a *assault) block(pairs ...string) []byte {
	a.hdrs.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = a.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return a.hdrs.Bytes()
}

// begin answers a request's headers.
func (a *assault) begin(stream uint32) error {
	return a.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndHeaders: true, BlockFragment: a.block(":status", "200", "content-type", "application/grpc"),
	})
}

// message sends a gRPC message whose prefix says that it has so many bytes.
func (a *assault) message(stream, says uint32, body []byte) error {
	prefix := binary.BigEndian.AppendUint32([]byte{0}, says)
	return a.WriteData(stream, false, append(prefix, body...))
}

// besieged is a client's way to an agent that answers each request's headers
// with attack, in a goroutine of its own, and reads on only where it is told.
func besieged(t *testing.T, reads bool, attack func(a *assault, stream uint32)) (Dialer, *assault) {
	t.Helper()
	ours, theirs := net.Pipe()
	a := &assault{conn: theirs}
	a.enc = hpack.NewEncoder(&a.hdrs)
	a.Framer = http2.NewFramer(a, theirs)
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = theirs.Close()
		all.Wait()
	})
	all.Go(func() {
		if _, err := io.ReadFull(theirs, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		if a.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}) != nil {
			return
		}
		for {
			f, err := a.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*http2.HeadersFrame); ok {
				all.Go(func() { attack(a, h.StreamID) })
				if !reads {
					return
				}
			}
		}
	})
	return func(context.Context) (net.Conn, error) { return ours, nil }, a
}

// forever repeats until its connection ends.
func forever(f func() error) {
	for f() == nil {
	}
}

// peak measures the most that the heap grew by while f ran, of what a
// collection leaves.
func peak(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	live := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before, most := live(), uint64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			most = max(most, live())
		case <-done:
			return max(most, live(), before) - before
		}
	}
}

// siegeBound is what one hostile agent may cost the process, in bytes: two
// windows of a connection (1 MiB each), a message under way and its decoded
// form, the frames and buffers of gRPC, and the garbage between two collections.
const siegeBound = 12 << 20

var sieges = map[string]struct {
	mute   bool // it reads nothing behind the first request
	attack func(a *assault, stream uint32)
}{
	"settings without end": {attack: func(a *assault, _ uint32) {
		forever(func() error { return a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}) })
	}},
	"pings without end, answers not read": {mute: true, attack: func(a *assault, _ uint32) {
		forever(func() error { return a.WritePing(false, [8]byte{1}) })
	}},
	"settings without end, answers not read": {mute: true, attack: func(a *assault, _ uint32) {
		forever(func() error { return a.WriteSettings() })
	}},
	"unknown frames without end": {attack: func(a *assault, s uint32) {
		forever(func() error { return a.WriteRawFrame(0xfa, 0, s, make([]byte, 16<<10)) })
	}},
	"data of streams that are not there": {attack: func(a *assault, s uint32) {
		forever(func() error { return a.WriteData(s+100, false, make([]byte, 16<<10)) })
	}},
	"headers without end": {attack: func(a *assault, s uint32) {
		if a.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: a.block(":status", "200")}) == nil {
			big := a.block("x-big", strings.Repeat("x", 12<<10))
			forever(func() error { return a.WriteContinuation(s, false, big) })
		}
	}},
	"a giant header": {attack: func(a *assault, s uint32) {
		block := bytes.Clone(a.block(":status", "200", "content-type", "application/grpc", "x-big", strings.Repeat("~", 1<<20)))
		err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: block[:16000]})
		for block = block[16000:]; err == nil && len(block) > 0; {
			n := min(len(block), 16000)
			err = a.WriteContinuation(s, n == len(block), block[:n])
			block = block[n:]
		}
	}},
	"a frame longer than it may be": {attack: func(a *assault, s uint32) {
		_ = a.WriteRawFrame(http2.FrameData, 0, s, make([]byte, 1<<20))
	}},
	"a frame that never ends": {attack: func(a *assault, s uint32) {
		_, _ = a.Write(append([]byte{0, 0x40, 0, 0, 0}, binary.BigEndian.AppendUint32(nil, s)...))
		_, _ = a.Write(make([]byte, 100))
	}},
	"a message of 4 GiB": {attack: func(a *assault, s uint32) {
		if a.begin(s) == nil && a.message(s, 1<<32-1, nil) == nil {
			forever(func() error { return a.WriteData(s, false, make([]byte, 16<<10)) })
		}
	}},
	"a message as long as it may be that never ends": {attack: func(a *assault, s uint32) {
		if a.begin(s) == nil {
			_ = a.message(s, maxHello, make([]byte, 1000))
		}
	}},
}

// TestSieges: whatever an agent sends, its own client alone waits, no longer
// than its context, the process grows by siegeBound at most, and another
// machine's agent is asked meanwhile as if nothing were.
func TestSieges(t *testing.T) {
	good, _ := hostileAgent(t, &hostile{ping: &wire.PingReply{Payload: []byte("ping")}})
	other, err := Connect(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for name, siege := range sieges {
		t.Run(name, func(t *testing.T) {
			dial, a := besieged(t, !siege.mute, siege.attack)
			grown := peak(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				defer cancel()
				ended, began := make(chan error, 1), time.Now()
				go func() {
					c, err := Connect(ctx, dial)
					if err == nil {
						_ = c.Close()
					}
					ended <- err
				}()
				if _, err := other.Ping(t.Context()); err != nil {
					t.Errorf("another machine's agent: %v", err)
				}
				if err := <-ended; err == nil {
					t.Error("a hello came")
				}
				if took := time.Since(began); took > 3*time.Second { // gRPC alone would take five to say goodbye
					t.Errorf("its client was held up for %s", took)
				}
			})
			t.Logf("%d KiB were sent, the heap grew by %d KiB at most", a.sent.Load()>>10, grown>>10)
			if grown > siegeBound {
				t.Errorf("the heap grew by %d bytes, at most %d are allowed", grown, siegeBound)
			}
		})
	}
}
