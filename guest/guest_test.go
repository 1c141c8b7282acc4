package guest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func TestMain(m *testing.M) {
	// Where SIGHUP was ignored when the tests began, as under nohup, programs
	// would ignore it too, and a shell can't even trap it then.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	goleak.VerifyTestMain(m)
}

// hostile is an agent that says what a test wants.
type hostile struct {
	wire.UnimplementedAgentServer
	hello     *wire.HelloReply
	ping      *wire.PingReply
	addresses []string
	info      *wire.SystemInfoReply
	exec      []*wire.ExecReply
	err       error
	// stream plays exec where it is set.
	stream func(wire.Agent_ExecServer) error
}

func (h *hostile) SystemInfo(context.Context, *wire.SystemInfoRequest) (*wire.SystemInfoReply, error) {
	return h.info, nil
}

func (h *hostile) Hello(context.Context, *wire.HelloRequest) (*wire.HelloReply, error) {
	if h.hello == nil {
		return &wire.HelloReply{Protocol: wire.Protocol}, h.err
	}
	return h.hello, h.err
}

func (h *hostile) Ping(context.Context, *wire.PingRequest) (*wire.PingReply, error) {
	return h.ping, nil
}

func (h *hostile) Exec(stream wire.Agent_ExecServer) error {
	if h.stream != nil {
		return h.stream(stream)
	}
	for _, reply := range h.exec {
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
	return nil
}

func hostileAgent(t *testing.T, h wire.AgentServer) (Dialer, *grpc.Server) {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	wire.RegisterAgentServer(s, h)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	return l.DialContext, s
}

func TestConnectChecksHello(t *testing.T) {
	phases := make(map[string]int64)
	for i := range rune(maxPhases + 1) {
		phases[string('A'+i)] = 1
	}
	for _, test := range []struct {
		name  string
		hello *wire.HelloReply
		part  string // "" = good
	}{
		{"good", &wire.HelloReply{Protocol: 1, Version: "v1.2.3 grün", Phases: map[string]int64{"init": 1}}, ""},
		{"none", &wire.HelloReply{}, "the agent's is 0"},
		{"newer", &wire.HelloReply{Protocol: wire.Protocol + 1}, "want 1 to 1"},
		{"escape", &wire.HelloReply{Protocol: 1, Version: "\x1b[2J"}, "version"},
		{"long", &wire.HelloReply{Protocol: 1, AgentId: strings.Repeat("x", maxText+1)}, "agent_id"},
		{"phases", &wire.HelloReply{Protocol: 1, Phases: phases}, "phases: 65"},
		{"phase", &wire.HelloReply{Protocol: 1, Phases: map[string]int64{"\n": 1}}, "phases"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dial, _ := hostileAgent(t, &hostile{hello: test.hello})
			c, err := Connect(t.Context(), dial)
			if test.part == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), test.part) {
				t.Errorf("%v, want ErrProtocol with %q", err, test.part)
			}
			if _, err := AwaitReady(t.Context(), dial, Probe{}); !errors.Is(err, ErrProtocol) {
				t.Errorf("the wait goes on: %v", err)
			}
		})
	}
}

func TestConnectOnceOnly(t *testing.T) {
	dial, s := hostileAgent(t, &hostile{ping: &wire.PingReply{Payload: []byte("other")}})
	dials := 0
	c, err := Connect(t.Context(), func(ctx context.Context) (net.Conn, error) {
		dials++
		return dial(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Ping(t.Context()); !errors.Is(err, ErrProtocol) {
		t.Errorf("another payload: %v", err)
	}
	s.Stop()
	for range 3 {
		if _, err := c.Ping(t.Context()); !errors.Is(err, ErrGone) {
			t.Errorf("after the end: %v", err)
		}
	}
	if dials != 1 {
		t.Errorf("%d dials, want 1", dials)
	}
}

func TestConnectErrors(t *testing.T) {
	broken := errors.New("nobody listens")
	_, err := Connect(t.Context(), func(context.Context) (net.Conn, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("dial: %v", err)
	}
	dial, _ := hostileAgent(t, &hostile{err: status.Error(codes.PermissionDenied, "go\x1b away")})
	if _, err := Connect(t.Context(), dial); err == nil || strings.ContainsRune(err.Error(), 0x1b) || !strings.Contains(err.Error(), "PermissionDenied") {
		t.Errorf("hello: %v", err)
	}
	_, err = Connect(t.Context(), func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		theirs.Close()
		return ours, nil
	})
	if !errors.Is(err, ErrGone) {
		t.Errorf("an end before the first byte: %v", err)
	}
}

func TestExecOfAHostileAgent(t *testing.T) {
	done := func(d *wire.ExecDone) *wire.ExecReply { return &wire.ExecReply{Msg: &wire.ExecReply_Done{Done: d}} }
	for name, replies := range map[string][]*wire.ExecReply{
		"status":       {done(&wire.ExecDone{Status: 256})},
		"signal":       {done(&wire.ExecDone{Signal: -1})},
		"error status": {done(&wire.ExecDone{Error: "x", ErrorStatus: 0})},
		"credit":       {{Msg: &wire.ExecReply_StdinTaken{StdinTaken: wire.StdinWindow}}, {Msg: &wire.ExecReply_StdinTaken{StdinTaken: 1}}},
		"negative":     {{Msg: &wire.ExecReply_StdinTaken{StdinTaken: -1}}},
		"nothing":      {{}},
	} {
		t.Run(name, func(t *testing.T) {
			dial, _ := hostileAgent(t, &hostile{exec: replies})
			c, err := Connect(t.Context(), dial)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Exec(t.Context(), ExecSpec{Argv: []string{"true"}}); !errors.Is(err, ErrProtocol) {
				t.Errorf("%v, want ErrProtocol", err)
			}
		})
	}
	dial, _ := hostileAgent(t, &hostile{})
	c, err := Connect(t.Context(), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Exec(t.Context(), ExecSpec{Argv: []string{"true"}}); err == nil {
		t.Error("an exec without done succeeded")
	}
}

func TestAwaitReadyProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var at []time.Duration
		refused := errors.New("refused")
		_, err := AwaitReady(ctx, func(context.Context) (net.Conn, error) {
			at = append(at, time.Since(begun).Round(time.Millisecond))
			return nil, refused
		}, Probe{})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, refused) {
			t.Errorf("error: %v", err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		const ms = time.Millisecond
		want := []time.Duration{0, 50 * ms, 125 * ms, 238 * ms, 406 * ms, 659 * ms, 1039 * ms, 1539 * ms, 2039 * ms, 2539 * ms}
		if len(at) != len(want) {
			t.Fatalf("probes at %v", at)
		}
		for i := range want {
			if (at[i] - want[i]).Abs() > ms {
				t.Errorf("probe %d at %v, want %v", i, at[i], want[i])
			}
		}
	})
}

// TestAwaitReadyOfAMuteGuest: each attempt is bounded, and gets more time when
// it needs more.
func TestAwaitReadyOfAMuteGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var took []time.Duration
		_, err := AwaitReady(ctx, func(ctx context.Context) (net.Conn, error) {
			begun := time.Now()
			<-ctx.Done()
			took = append(took, time.Since(begun))
			return nil, ctx.Err()
		}, Probe{First: time.Second, Each: time.Second})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 8} {
			if took[i] != want*time.Second {
				t.Errorf("attempt %d took %v", i, took[i])
			}
		}
	})
}

func TestAwaitReadyCancelled(t *testing.T) {
	cause := errors.New("stop overtakes")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := AwaitReady(ctx, func(context.Context) (net.Conn, error) {
		t.Error("dialled")
		return nil, cause
	}, Probe{})
	if !errors.Is(err, cause) {
		t.Error(err)
	}
}

const ourMAC = "52:54:00:12:34:56"

func TestSelectAddress(t *testing.T) {
	on := func(mac string, addresses ...string) *wire.Interface {
		return &wire.Interface{Name: "x", Mac: mac, Addresses: addresses, Up: true}
	}
	for _, test := range []struct {
		name string
		in   []*wire.Interface
		want string
	}{
		{"none", nil, ""},
		{"IPv4 goes first", []*wire.Interface{on(ourMAC, "::1", "fe80::1", "2001:db8::10", "10.0.2.2")}, "10.0.2.2"},
		{"global IPv6 else", []*wire.Interface{on(ourMAC, "::1", "fe80::2", "2001:db8::42")}, "2001:db8::42"},
		{"CIDR", []*wire.Interface{on(ourMAC, "192.168.1.7/24")}, "192.168.1.7"},
		{"first of several", []*wire.Interface{on(ourMAC, "10.0.0.1/8", "10.0.0.2/8")}, "10.0.0.1"},
		{"first IPv6 of several", []*wire.Interface{on(ourMAC, "2001:db8::1/64", "2001:db8::2/64")}, "2001:db8::1"},
		{"not another's", []*wire.Interface{on("02:42:00:00:00:01", "172.17.0.1/16"), on(ourMAC, "10.0.0.5/24")}, "10.0.0.5"},
		{"another's only", []*wire.Interface{on("02:42:00:00:00:01", "172.17.0.1/16"), on("", "127.0.0.1/8")}, ""},
		{"MAC in another case", []*wire.Interface{on("52-54-00-12-34-56", "10.0.0.5/24")}, "10.0.0.5"},
		{"two with our MAC", []*wire.Interface{on(ourMAC, "fe80::1/64"), on(ourMAC, "10.0.0.5/24")}, "10.0.0.5"},
		{"nothing routable", []*wire.Interface{on(ourMAC, "127.0.0.1/8", "169.254.1.1/16", "fe80::1/64", "0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", "::")}, ""},
		{"IPv4 in IPv6", []*wire.Interface{on(ourMAC, "::ffff:127.0.0.1", "::ffff:10.0.0.9")}, "10.0.0.9"},
		{"rubbish", []*wire.Interface{on(ourMAC, "", "10.0.0", "10.0.0.1/99", "x/y"), nil}, ""},
	} {
		if got := SelectAddress(test.in, ourMAC); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	if got := SelectAddress([]*wire.Interface{on("", "10.0.0.1")}, ""); got != "" {
		t.Errorf("no MAC: %q", got)
	}
}

// TestSelectAddressIsRoutable: whatever a guest says, what comes out is an
// address that it said of our interface.
func TestSelectAddressIsRoutable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"10.0.0.1/8", "127.0.0.1/8", "fe80::1%eth0", "fe80::1/64", "2001:db8::1/64", "2001:db8::1%x", "169.254.0.1",
		}))).Draw(t, "addresses")
		got := SelectAddress([]*wire.Interface{{Mac: ourMAC, Addresses: texts}}, ourMAC)
		if got == "" {
			return
		}
		if ip := net.ParseIP(got); ip == nil || !ip.IsGlobalUnicast() {
			t.Fatalf("%q of %q", got, texts)
		}
		if !strings.Contains(strings.Join(texts, " "), got) {
			t.Fatalf("%q is none of %q", got, texts)
		}
	})
}

// Address plays what a guest says of its addresses.
func (h *hostile) Address(context.Context, *wire.AddressRequest) (*wire.AddressReply, error) {
	return &wire.AddressReply{Addresses: h.addresses}, h.err
}

// TestAddress: nothing but an address that can be reached comes out, and an agent
// that can't be asked is not.
func TestAddress(t *testing.T) {
	for _, test := range []struct {
		abilities, addresses []string
		want                 string
		err                  error
	}{
		{abilities: nil, err: ErrUnable},
		{[]string{wire.AbilityAddress}, nil, "", nil},
		{[]string{wire.AbilityAddress}, []string{"169.254.0.1/16", "fe80::1/64", "rubbish"}, "", nil},
		{[]string{wire.AbilityAddress}, []string{"fd00::2/64", "10.0.0.2/24"}, "10.0.0.2", nil},
	} {
		dial, _ := hostileAgent(t, &hostile{hello: &wire.HelloReply{Protocol: wire.Protocol, Abilities: test.abilities}, addresses: test.addresses})
		c, err := Connect(t.Context(), dial)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Address(t.Context(), ourMAC, time.Minute); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%v: %q, %v", test.addresses, got, err)
		}
		c.Close()
	}
}
