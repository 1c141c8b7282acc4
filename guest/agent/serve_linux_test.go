package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// testPatience bounds what a test waits for; nothing should take it.
const testPatience = 30 * time.Second

// serve runs an agent and returns a client of it.
func serve(t *testing.T, change func(*Agent)) (context.Context, wire.AgentClient) {
	t.Helper()
	a, err := New(Options{
		Version: "test", Token: testToken, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Phases: &Phases{}, CID: func() uint32 { return 42 },
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(a)
	}
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(serving, l) }()
	conn, err := grpc.NewClient("passthrough:///test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			c, err := net.Dial("unix", path)
			if err != nil {
				return nil, err
			}
			return c, wire.SendPreface(c, testToken)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		conn.Close()
		stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	return ctx, wire.NewAgentClient(conn)
}

func wantCode(t *testing.T, err error, code codes.Code, part string) {
	t.Helper()
	s, _ := status.FromError(err)
	if s.Code() != code || !strings.Contains(s.Message(), part) {
		t.Errorf("%v, want %v with %q", err, code, part)
	}
}

func TestNewNeedsAToken(t *testing.T) {
	if _, err := New(Options{Token: testToken[1:]}); err == nil {
		t.Error("a short token is taken")
	}
}

func TestHello(t *testing.T) {
	ctx, c := serve(t, func(a *Agent) { a.opts.Phases.Mark("init") })
	h, err := c.Hello(ctx, &wire.HelloRequest{Protocol: 1})
	if err != nil {
		t.Fatal(err)
	}
	if h.GetProtocol() != wire.Protocol || h.GetVersion() != "test" || h.GetCid() != 42 || h.GetPhases()["init"] <= 0 {
		t.Errorf("hello: %v", h)
	}
	if h.GetAgentId() == "" || h.GetBootId() != oneLine("/proc/sys/kernel/random/boot_id") {
		t.Errorf("ids: %v", h)
	}
	_, err = c.Hello(ctx, &wire.HelloRequest{})
	wantCode(t, err, codes.InvalidArgument, "protocol: 0")
}

func TestPing(t *testing.T) {
	ctx, c := serve(t, nil)
	payload := make([]byte, wire.MaxChunk+1)
	r, err := c.Ping(ctx, &wire.PingRequest{Payload: payload[1:]})
	if err != nil || !bytes.Equal(r.GetPayload(), payload[1:]) || r.GetUnixNanos() == 0 {
		t.Errorf("ping: %v", err)
	}
	_, err = c.Ping(ctx, &wire.PingRequest{Payload: payload})
	wantCode(t, err, codes.InvalidArgument, "payload: 65537 bytes")
	_, err = c.Ping(ctx, &wire.PingRequest{Payload: make([]byte, wire.MaxMessage+1)})
	wantCode(t, err, codes.ResourceExhausted, "larger than max")
}

func TestSystemInfo(t *testing.T) {
	ctx, c := serve(t, nil)
	r, err := c.SystemInfo(ctx, &wire.SystemInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if r.GetKernelVersion() != unix.ByteSliceToString(u.Release[:]) || r.GetArch() == "" || r.GetOsName() == "" || r.GetHostname() == "" {
		t.Errorf("system: %v", r)
	}
	if r.GetTotalMemory() < r.GetAvailableMemory() || r.GetAvailableMemory() == 0 || r.GetCpuCount() == 0 || r.GetUptimeSeconds() <= 0 {
		t.Errorf("resources: %v", r)
	}
	if len(r.GetLoadAverage()) != 3 || len(r.GetInterfaces()) == 0 || r.GetBootId() == "" || r.GetCid() != 42 {
		t.Errorf("the rest: %v", r)
	}
}

func TestClock(t *testing.T) {
	const now = int64(1_800_000_000_000_000_000)
	for _, test := range []struct {
		name    string
		asked   int64
		stepped int64
		slewed  time.Duration
	}{
		{"read", 0, 0, 0},
		{"ahead, near", now - 1e9, 0, -time.Second},
		{"behind, near", now + 5e6, 0, 5 * time.Millisecond},
		{"behind, far", now + 1e9 + 1, now + 1e9 + 1, 0},
		{"ahead, far", 1, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stepped int64
			var slewed time.Duration
			ctx, c := serve(t, func(a *Agent) {
				a.clock = clock{
					now:  func() int64 { return now },
					step: func(to int64) error { stepped = to; return nil },
					slew: func(by time.Duration) error { slewed = by; return nil },
				}
			})
			r, err := c.Clock(ctx, &wire.ClockRequest{UnixNanos: test.asked})
			if err != nil {
				t.Fatal(err)
			}
			if stepped != test.stepped || slewed != test.slewed || r.GetStepped() != (test.stepped != 0) {
				t.Errorf("stepped to %d, slewed by %v: %v", stepped, slewed, r)
			}
			if r.GetUnixNanos() != now || test.asked != 0 && r.GetOffsetNanos() != now-test.asked {
				t.Errorf("reply: %v", r)
			}
		})
	}
	ctx, c := serve(t, nil)
	_, err := c.Clock(ctx, &wire.ClockRequest{UnixNanos: -1})
	wantCode(t, err, codes.InvalidArgument, "unix_nanos: -1")
}

func TestShutdown(t *testing.T) {
	asked := make(chan time.Duration, 2)
	ctx, c := serve(t, func(a *Agent) { a.opts.PowerOff = func(grace time.Duration) { asked <- grace } })
	for in, want := range map[time.Duration]time.Duration{0: defaultGrace, time.Second: time.Second} {
		if _, err := c.Shutdown(ctx, &wire.ShutdownRequest{GraceNanos: int64(in)}); err != nil {
			t.Fatal(err)
		}
		if got := <-asked; got != want {
			t.Errorf("grace %v, want %v", got, want)
		}
	}
	for _, bad := range []time.Duration{-1, maxGrace + 1} {
		_, err := c.Shutdown(ctx, &wire.ShutdownRequest{GraceNanos: int64(bad)})
		wantCode(t, err, codes.InvalidArgument, "grace:")
	}
	ctx, c = serve(t, nil)
	_, err := c.Shutdown(ctx, &wire.ShutdownRequest{})
	wantCode(t, err, codes.Unimplemented, "first process")
}

// TestPanicOfACall must not end the process: it is process 1.
func TestPanicOfACall(t *testing.T) {
	ctx, c := serve(t, func(a *Agent) { a.clock.now = func() int64 { panic("a fault") } })
	_, err := c.Clock(ctx, &wire.ClockRequest{})
	wantCode(t, err, codes.Internal, "agent fault")
	if _, err := c.Hello(ctx, &wire.HelloRequest{Protocol: 1}); err != nil {
		t.Error(err)
	}
}

// start begins an exec; its started message is taken.
func start(t *testing.T, ctx context.Context, c wire.AgentClient, argv ...string) wire.Agent_ExecClient {
	t.Helper()
	stream, err := c.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, &wire.ExecRequest{Msg: &wire.ExecRequest_Start{Start: &wire.ExecStart{Argv: argv}}})
	if r, err := stream.Recv(); err != nil || r.GetStarted().GetPid() == 0 {
		t.Fatalf("started: %v, %v", r, err)
	}
	return stream
}

func send(t *testing.T, stream wire.Agent_ExecClient, req *wire.ExecRequest) {
	t.Helper()
	if err := stream.Send(req); err != nil && !errors.Is(err, io.EOF) { // EOF: the answer is there
		t.Fatal(err)
	}
}

// end receives until an error.
func end(stream wire.Agent_ExecClient) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func TestExecRefusesBadMessages(t *testing.T) {
	ctx, c := serve(t, nil)
	stdin := func(n int) *wire.ExecRequest {
		return &wire.ExecRequest{Msg: &wire.ExecRequest_Stdin{Stdin: make([]byte, n)}}
	}
	for _, test := range []struct {
		name string
		msgs []*wire.ExecRequest
		part string
	}{
		{"chunk", []*wire.ExecRequest{stdin(wire.MaxChunk + 1)}, "stdin: 65537 bytes"},
		{"window", []*wire.ExecRequest{stdin(wire.MaxChunk), stdin(wire.MaxChunk), stdin(wire.MaxChunk), stdin(wire.MaxChunk), stdin(wire.MaxChunk), stdin(1)}, "under way"},
		{"signal", []*wire.ExecRequest{{Msg: &wire.ExecRequest_Signal{Signal: 65}}}, "signal: 65"},
		{"no signal", []*wire.ExecRequest{{Msg: &wire.ExecRequest_Signal{Signal: 0}}}, "signal: 0"},
		{"nothing", []*wire.ExecRequest{{}}, "message: want"},
		{"resize of none", []*wire.ExecRequest{{Msg: &wire.ExecRequest_Resize{Resize: &wire.TerminalSize{}}}}, "has no terminal"},
		{"second start", []*wire.ExecRequest{{Msg: &wire.ExecRequest_Start{Start: &wire.ExecStart{}}}}, "message: want"},
	} {
		t.Run(test.name, func(t *testing.T) {
			stream := start(t, ctx, c, "sleep", "1000")
			for _, msg := range test.msgs {
				send(t, stream, msg)
			}
			wantCode(t, end(stream), codes.InvalidArgument, test.part)
		})
	}
	stream, err := c.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, stdin(1))
	wantCode(t, end(stream), codes.InvalidArgument, "start: missing")
}

func TestResizeIsBounded(t *testing.T) {
	ctx, c := serve(t, nil)
	stream, err := c.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	size := &wire.TerminalSize{Rows: wire.MaxSide, Columns: wire.MaxSide}
	send(t, stream, &wire.ExecRequest{Msg: &wire.ExecRequest_Start{Start: &wire.ExecStart{Argv: []string{"sleep", "1000"}, Terminal: size}}})
	send(t, stream, &wire.ExecRequest{Msg: &wire.ExecRequest_Resize{Resize: &wire.TerminalSize{Rows: wire.MaxSide + 1}}})
	wantCode(t, end(stream), codes.InvalidArgument, "resize: 65536 rows and 0 columns")
}

func TestExecIsBounded(t *testing.T) {
	ctx, c := serve(t, func(a *Agent) { a.execs = make(chan struct{}, 1) })
	first := start(t, ctx, c, "sleep", "1000")
	stream, err := c.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, &wire.ExecRequest{Msg: &wire.ExecRequest_Start{Start: &wire.ExecStart{Argv: []string{"true"}}}})
	wantCode(t, end(stream), codes.ResourceExhausted, "run through the agent already")
	send(t, first, &wire.ExecRequest{Msg: &wire.ExecRequest_Signal{Signal: 9}})
	if err := end(first); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
