package endpoint

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// preface is what every HTTP/2 connection begins with.
const preface = http2.ClientPreface

// frames writes HTTP/2 as a client that knows no rules would.
func frames(write func(f *http2.Framer)) string {
	var b bytes.Buffer
	b.WriteString(preface)
	f := http2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	write(f)
	return b.String()
}

// headers are a call's, and more of them.
func headers(path string, more, size int) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "x"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	for i := range more {
		_ = e.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: strings.Repeat("x", size), Sensitive: true})
	}
	return b.Bytes()
}

// call opens a stream.
func call(f *http2.Framer, stream uint32, block []byte) {
	first := block[:min(len(block), 16<<10)]
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(first) == len(block)})
	for rest := block[len(first):]; len(rest) > 0; {
		n := min(len(rest), 16<<10)
		_ = f.WriteContinuation(stream, n == len(rest), rest[:n])
		rest = rest[n:]
	}
}

// noCalls are what gRPC turns away before the gateway sees any of it.
var noCalls = map[string]string{
	"HTTP/1.1":         "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"HTTP/1.1 upgrade": "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	"TLS":              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 505),
	"a shell's line":   "list\n",
	"ticket":           "0123456789abcdef0123456789abcdef\n",
	"NULs":             strings.Repeat("\x00", 4096),
	"half a preface":   preface[:10],
	"garbage frames":   preface + strings.Repeat("\xff", 1000),
	"a giant frame":    frames(func(f *http2.Framer) { _ = f.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 1<<20)) }),
	"data for nobody": frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		_ = f.WriteData(7, true, []byte("x"))
		_ = f.WriteRawFrame(0xee, 0xff, 0, nil)
	}),
	"a reset of nobody": frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		for i := range 10_000 {
			_ = f.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}
	}),
	"stream 0":            frames(func(f *http2.Framer) { _ = f.WriteSettings(); call(f, 0, headers("/x/Y", 0, 0)) }),
	"even stream":         frames(func(f *http2.Framer) { _ = f.WriteSettings(); call(f, 2, headers("/x/Y", 0, 0)) }),
	"broken header table": frames(func(f *http2.Framer) { _ = f.WriteSettings(); call(f, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}) }),
	"header flood": frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		call(f, 1, headers("/remote.Remoting/Receive", 2000, 100))
	}),
	"settings flood": frames(func(f *http2.Framer) {
		for range 5_000 {
			_ = f.WriteSettings()
		}
	}),
	"ping flood": frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		for range 5_000 {
			_ = f.WritePing(false, [8]byte{})
		}
	}),
	"window overflow": frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		_ = f.WriteWindowUpdate(0, 1<<31-1)
		_ = f.WriteWindowUpdate(0, 1<<31-1)
	}),
}

// TestNoCalls: whatever is no call costs its connection, is logged once, and
// harms nobody.
func TestNoCalls(t *testing.T) {
	for name, text := range noCalls {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{Handshake: time.Second}, ownOrRoot)
			c, err := net.Dial("unix", e.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { _, _ = io.Copy(io.Discard, c) }() // its answers are not our matter
			_, _ = io.WriteString(c, text)                // it may be closed in our midst
			_ = c.(*net.UnixConn).CloseWrite()
			once(t, e)
			alive(t, e)
		})
	}
}

// TestSlowLoris: who sends a byte now and then is put out when the handshake
// should be over, and so is who sends none.
func TestSlowLoris(t *testing.T) {
	for name, text := range map[string]string{"silent": "", "slow": preface[:1]} {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, Limits{Handshake: 300 * time.Millisecond}, ownOrRoot)
			c, err := net.Dial("unix", e.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("not put out: %v", err)
			}
			once(t, e)
			alive(t, e)
		})
	}
}

// TestRealTLS: a client that expects certificates.
func TestRealTLS(t *testing.T) {
	e := startEngine(t, Limits{Handshake: time.Second}, ownOrRoot)
	c, err := net.Dial("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}).Handshake(); err == nil {
		t.Error("TLS was spoken")
	}
	_ = c.Close()
	once(t, e)
	alive(t, e)
}

// TestResetFlood: streams that are opened and reset as fast as can be. Each is
// a client that goes, which is no offence; none of it may last.
func TestResetFlood(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	c, err := net.Dial("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
	_, _ = io.WriteString(c, frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		for i := range 20_000 {
			call(f, uint32(2*i+1), headers("/remote.Remoting/Receive", 0, 0))
			_ = f.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}
	}))
	alive(t, e)
	_ = c.Close()
	eventually(t, "no link is left", func() bool {
		e.gateway.mu.RLock()
		defer e.gateway.mu.RUnlock()
		return len(e.gateway.links) <= 1 // the one that asked whether it lives
	})
	if lines := e.log.all(); len(lines) > 4 {
		t.Errorf("logged %d lines", len(lines))
	}
}

// TestAProbeIsNoOffence: a second engine looks whether somebody listens.
func TestAProbeIsNoOffence(t *testing.T) {
	e := startEngine(t, Limits{}, ownOrRoot)
	c, err := net.Dial("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.UnixConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, c) // until the gateway has closed it
	_ = c.Close()
	alive(t, e)
	if lines := e.log.all(); len(lines) != 0 {
		t.Errorf("logged %q", lines)
	}
}
