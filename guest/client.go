package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Errors of a client, beside those of its caller's context.
var (
	// ErrProtocol: the agent is too old or too new, or breaks the protocol.
	ErrProtocol = errors.New("guest agent speaks another protocol")
	// ErrGone: the connection has ended. The guest may live on.
	ErrGone = errors.New("connection to the guest agent has ended")
	// ErrUnable: the agent is older than what it is asked for.
	ErrUnable = errors.New("guest agent can't do that")
)

// oldestProtocol is the oldest agent's that this client can talk to: a machine
// may have been started by an older engine.
const oldestProtocol = 1

// Bounds of what a guest says of itself.
const (
	maxText      = 256
	maxPhases    = 64
	maxAbilities = 64
)

const (
	streamWindow = 512 << 10
	connWindow   = 1 << 20
)

// Bounds of one message and of its headers, by call. A message becomes many
// times its size in memory where it has as many empty parts as fit, so that
// none may be longer than an honest one.
const (
	maxHeaders = 64 << 10
	maxShort   = 4 << 10
	maxHello   = 64 << 10
	maxInfo    = 256 << 10
	maxStream  = wire.MaxChunk + 1<<10
)

func upTo(n int) grpc.CallOption { return grpc.MaxCallRecvMsgSize(n) }

// Dialer connects to a guest's agent. The token was shown already.
type Dialer func(ctx context.Context) (net.Conn, error)

// Client calls one agent over one connection; only much output of a program
// gets one of its own.
type Client struct {
	dial  Dialer
	raw   net.Conn
	conn  *grpc.ClientConn
	agent wire.AgentClient
	hello *wire.HelloReply
}

// Connect dials once and greets the agent. ctx bounds both. Later it dials again
// only for what goes on without where that fails.
func Connect(ctx context.Context, dial Dialer) (*Client, error) {
	raw, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("guest agent: dial: %w", err)
	}
	conn, err := grpc.NewClient("passthrough:///guest", options(raw)...)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("guest agent: %w", err)
	}
	c := &Client{dial: dial, raw: raw, conn: conn, agent: wire.NewAgentClient(conn)}
	c.hello, err = c.agent.Hello(ctx, &wire.HelloRequest{Protocol: wire.Protocol}, upTo(maxHello))
	if err != nil {
		err = callError(ctx, "hello", err)
	} else {
		err = checkHello(c.hello)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// options hand raw out once: gRPC's own habit is to dial again.
func options(raw net.Conn) []grpc.DialOption {
	var given atomic.Bool
	return []grpc.DialOption{
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if given.Swap(true) {
				return nil, ErrGone
			}
			return raw, nil
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithDefaultCallOptions(upTo(maxShort), grpc.MaxCallSendMsgSize(wire.MaxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 30 * time.Second}),
	}
}

// checkHello refuses an agent that can't be talked to, or that tells what
// should not come near a terminal or a journal.
func checkHello(h *wire.HelloReply) error {
	if p := h.GetProtocol(); p < oldestProtocol || p > wire.Protocol {
		return fmt.Errorf("%w: the agent's is %d, want %d to %d", ErrProtocol, p, oldestProtocol, wire.Protocol)
	}
	texts := map[string]string{"version": h.GetVersion(), "agent_id": h.GetAgentId(), "boot_id": h.GetBootId()}
	for field, text := range texts {
		if err := checkText(text); err != nil {
			return fmt.Errorf("%w: hello: %s: %w", ErrProtocol, field, err)
		}
	}
	if err := checkPhases(h.GetPhases()); err != nil {
		return fmt.Errorf("%w: hello: %w", ErrProtocol, err)
	}
	if n := len(h.GetAbilities()); n > maxAbilities {
		return fmt.Errorf("%w: hello: abilities: %d, at most %d", ErrProtocol, n, maxAbilities)
	}
	return nil
}

func checkPhases(phases map[string]int64) error {
	if n := len(phases); n > maxPhases {
		return fmt.Errorf("phases: %d, at most %d", n, maxPhases)
	}
	for name := range phases {
		if err := checkText(name); err != nil {
			return fmt.Errorf("phases: %w", err)
		}
	}
	return nil
}

// need refuses what the agent would pass over without a word.
func (c *Client) need(ability string) error {
	if slices.Contains(c.hello.GetAbilities(), ability) {
		return nil
	}
	return fmt.Errorf("%w: %s: its version %s does not know it; a machine gets the newest agent when it is started again",
		ErrUnable, ability, c.hello.GetVersion())
}

func checkText(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%d bytes, at most %d", len(s), maxText)
	}
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return fmt.Errorf("%q is not printable", s)
		}
	}
	return nil
}

// callError names the call, and tells a lost connection and a finished context
// from what the agent said.
func callError(ctx context.Context, call string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("guest agent: %s: %w", call, context.Cause(ctx))
	}
	switch s := status.Convert(err); s.Code() {
	case codes.Unavailable, codes.Canceled:
		return fmt.Errorf("guest agent: %s: %w: %q", call, ErrGone, short(s.Message()))
	case codes.Unimplemented:
		return fmt.Errorf("guest agent: %s: %w: %q", call, ErrProtocol, short(s.Message()))
	default:
		return fmt.Errorf("guest agent: %s: %s: %q", call, s.Code(), short(s.Message()))
	}
}

// short keeps a message of the guest's presentable.
func short(s string) string {
	const most = 1024
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Hello is what the agent said of itself when the client connected. It must
// not be changed.
func (c *Client) Hello() *wire.HelloReply { return c.hello }

// Close ends the connection and with it every call. gRPC says goodbye first,
// for five seconds where nobody reads it: so the connection ends before.
func (c *Client) Close() error {
	_ = c.raw.Close() // gRPC closes it too
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("guest agent: close: %w", err)
	}
	return nil
}

// Ping has the agent echo a few bytes.
func (c *Client) Ping(ctx context.Context) (*wire.PingReply, error) {
	payload := []byte("ping")
	reply, err := c.agent.Ping(ctx, &wire.PingRequest{Payload: payload})
	if err != nil {
		return nil, callError(ctx, "ping", err)
	}
	if !bytes.Equal(reply.GetPayload(), payload) {
		return nil, fmt.Errorf("guest agent: ping: %w: another payload came back", ErrProtocol)
	}
	return reply, nil
}

// SystemInfo asks what the guest is. Its texts are the guest's: they are to be
// quoted where they are shown.
func (c *Client) SystemInfo(ctx context.Context) (*wire.SystemInfoReply, error) {
	reply, err := c.agent.SystemInfo(ctx, &wire.SystemInfoRequest{}, upTo(maxInfo))
	if err != nil {
		return nil, callError(ctx, "system info", err)
	}
	return reply, nil
}

// Clock reads the guest's clock and, where to is not zero, sets it.
func (c *Client) Clock(ctx context.Context, to time.Time) (*wire.ClockReply, error) {
	req := &wire.ClockRequest{}
	if !to.IsZero() {
		req.UnixNanos = to.UnixNano()
	}
	reply, err := c.agent.Clock(ctx, req)
	if err != nil {
		return nil, callError(ctx, "clock", err)
	}
	return reply, nil
}

// AwaitBoot waits until the init of the machine's image is ready. The reply's init
// is "" where it has none.
func (c *Client) AwaitBoot(ctx context.Context) (*wire.AwaitBootReply, error) {
	if err := c.need(wire.AbilityBoot); err != nil {
		return nil, err
	}
	reply, err := c.agent.AwaitBoot(ctx, &wire.AwaitBootRequest{})
	if err != nil {
		return nil, callError(ctx, "await boot", err)
	}
	if err := errors.Join(checkText(reply.GetInit()), checkPhases(reply.GetPhases())); err != nil {
		return nil, fmt.Errorf("%w: await boot: %w", ErrProtocol, err)
	}
	return reply, nil
}

// Trim has the guest give back what its own disk does not need, and returns how
// many bytes of it hold nothing. It may take minutes, and goes on where ctx is
// over meanwhile.
func (c *Client) Trim(ctx context.Context) (uint64, error) {
	if err := c.need(wire.AbilityTrim); err != nil {
		return 0, err
	}
	reply, err := c.agent.Trim(ctx, &wire.TrimRequest{})
	if err != nil {
		return 0, callError(ctx, "trim", err)
	}
	return reply.GetTrimmed(), nil
}

// Grow has the guest wait until its own disk has so many bytes, and use them all.
// It returns the size of the file system.
func (c *Client) Grow(ctx context.Context, size int64) (uint64, error) {
	if err := c.need(wire.AbilityGrow); err != nil {
		return 0, err
	}
	reply, err := c.agent.Grow(ctx, &wire.GrowRequest{Size: uint64(max(size, 0))})
	if err != nil {
		return 0, callError(ctx, "grow", err)
	}
	return reply.GetSize(), nil
}

// Unplug has the guest let go of its vsock device, which ends this connection.
func (c *Client) Unplug(ctx context.Context) error {
	if err := c.need(wire.AbilityUnplug); err != nil {
		return err
	}
	if _, err := c.agent.Unplug(ctx, &wire.UnplugRequest{}); err != nil && status.Code(err) != codes.Unavailable {
		return callError(ctx, "unplug", err)
	}
	return nil
}

// Shutdown has the guest power off: it returns once the guest has begun.
// Processes get SIGTERM, and after the grace SIGKILL; 0 = the agent's default.
func (c *Client) Shutdown(ctx context.Context, grace time.Duration) error {
	_, err := c.agent.Shutdown(ctx, &wire.ShutdownRequest{GraceNanos: int64(grace)})
	if err != nil {
		return callError(ctx, "shutdown", err)
	}
	return nil
}
