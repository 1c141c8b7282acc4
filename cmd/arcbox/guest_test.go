package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// fakeAgent is a guest's agent on a connection in memory.
type fakeAgent struct {
	guestwire.UnimplementedAgentServer
	exec func(grpc.BidiStreamingServer[guestwire.ExecRequest, guestwire.ExecReply]) error
	mute bool

	root   string // of the files that it copies
	parts  []*guestwire.CopyPart
	disk   *guestwire.DiskUse
	trim   func() error
	starts []*guestwire.CopyInStart
}

func (a *fakeAgent) Hello(context.Context, *guestwire.HelloRequest) (*guestwire.HelloReply, error) {
	return &guestwire.HelloReply{
		Protocol: guestwire.Protocol, Version: "1.0", Abilities: []string{guestwire.AbilityTerminal, guestwire.AbilityLogin, guestwire.AbilityCopy, guestwire.AbilityTrim},
	}, nil
}

func (a *fakeAgent) Ping(ctx context.Context, r *guestwire.PingRequest) (*guestwire.PingReply, error) {
	if a.mute {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &guestwire.PingReply{Payload: r.GetPayload(), Version: "1.0", UnixNanos: noon.UnixNano()}, nil
}

func (a *fakeAgent) SystemInfo(ctx context.Context, _ *guestwire.SystemInfoRequest) (*guestwire.SystemInfoReply, error) {
	if a.mute {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &guestwire.SystemInfoReply{
		Data:          a.disk,
		KernelVersion: "6.1.0", OsName: "Linux\x1b[2J", Arch: "x86_64", TotalMemory: 512 << 20, AvailableMemory: 256 << 20, CpuCount: 2,
		LoadAverage: []float64{0.5, 0, 0}, Hostname: "web", UptimeSeconds: 61, Cid: 4,
		Interfaces: []*guestwire.Interface{{Name: "eth0", Mac: "52:54:00:00:00:01", Addresses: []string{"10.0.0.2/24"}, Up: true}},
	}, nil
}

func (a *fakeAgent) Exec(s grpc.BidiStreamingServer[guestwire.ExecRequest, guestwire.ExecReply]) error {
	return a.exec(s)
}

// withAgent is an engine whose tickets lead to an agent.
func withAgent(t *testing.T, a *fakeAgent) *fakeEngine {
	t.Helper()
	lis, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	guestwire.RegisterAgentServer(server, a)
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	t.Cleanup(func() { server.Stop(); <-served })
	e := answers(&wire.Ticket{Socket: "s", Ticket: "t"}, nil)
	e.open = func(*wire.Ticket) (net.Conn, error) { return net.Dial("unix", lis.Addr().String()) }
	return e
}

type execStream = grpc.BidiStreamingServer[guestwire.ExecRequest, guestwire.ExecReply]

// ends is a program that ends so.
func ends(done *guestwire.ExecDone) *fakeAgent {
	return &fakeAgent{exec: func(s execStream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		return s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Done{Done: done}})
	}}
}

func TestExecPassesTheStatusOn(t *testing.T) {
	for _, c := range []struct {
		done *guestwire.ExecDone
		want int
		err  string
	}{
		{&guestwire.ExecDone{}, 0, ""},
		{&guestwire.ExecDone{Status: 7}, 7, ""},
		{&guestwire.ExecDone{Status: 125}, 125, ""},
		{&guestwire.ExecDone{Signal: 9}, 137, ""},
		{&guestwire.ExecDone{Signal: 15}, 143, ""},
		{&guestwire.ExecDone{Signal: 9, TimedOut: true}, 124, "time was over"},
		{&guestwire.ExecDone{Error: "no such file", ErrorStatus: 127}, 127, "no such file"},
		{&guestwire.ExecDone{Error: "not executable", ErrorStatus: 126}, 126, "not executable"},
		{&guestwire.ExecDone{Status: 4711}, 125, "4711"}, // a hostile agent
	} {
		b := newBench(t, withAgent(t, ends(c.done)))
		if got := b.run(t, "exec", "web", "true"); got != c.want || !strings.Contains(b.err.String(), c.err) {
			t.Errorf("%v: exit %d, %q; want %d", c.done, got, b.err.String(), c.want)
		}
	}
}

// collect is a program that reads all of its input, tells what it was started
// with, and echoes.
func collect(started **guestwire.ExecStart) *fakeAgent {
	return &fakeAgent{exec: func(s execStream) error {
		var input bytes.Buffer
		for {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			switch msg := m.GetMsg().(type) {
			case *guestwire.ExecRequest_Start:
				*started = msg.Start
			case *guestwire.ExecRequest_Stdin:
				input.Write(msg.Stdin)
			case *guestwire.ExecRequest_CloseStdin:
				_ = s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Stdout{Stdout: input.Bytes()}})
				_ = s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Stderr{Stderr: []byte("e")}})
				return s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Done{Done: &guestwire.ExecDone{}}})
			}
		}
	}}
}

func TestExecArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		want *guestwire.ExecStart
	}{
		{"web ls -l", &guestwire.ExecStart{Argv: []string{"ls", "-l"}}},
		{"web -- ls -l --", &guestwire.ExecStart{Argv: []string{"ls", "-l", "--"}}},
		{"-w /srv web -- pwd", &guestwire.ExecStart{Argv: []string{"pwd"}, Dir: "/srv"}},
		{"web -u www:www --timeout 2 -e A=1=2 -e B -- env -i", &guestwire.ExecStart{
			Argv: []string{"env", "-i"}, User: "www:www", Env: map[string]string{"A": "1=2", "B": "from here"}, TimeoutNanos: 2e9,
		}},
	} {
		var got *guestwire.ExecStart
		b := newBench(t, withAgent(t, collect(&got)))
		env := b.env
		b.env = func(name string) string {
			if name == "B" {
				return "from here"
			}
			return env(name)
		}
		b.stdin = strings.NewReader("in")
		if code := b.run(t, append([]string{"exec"}, strings.Fields(c.args)...)...); code != 0 {
			t.Errorf("%s: exit %d, %s", c.args, code, b.err.String())
		}
		if !proto.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.args, got, c.want)
		}
		if b.out.String() != "in" || b.err.String() != "e" {
			t.Errorf("%s: out %q, err %q", c.args, b.out.String(), b.err.String())
		}
	}
}

func TestExecWithoutInput(t *testing.T) {
	var got *guestwire.ExecStart
	b := newBench(t, withAgent(t, collect(&got)))
	b.stdin = strings.NewReader("in")
	if code := b.run(t, "exec", "-n", "web", "cat"); code != 0 || b.out.Len() > 0 {
		t.Errorf("exit %d, out %q", code, b.out.String())
	}
}

func TestExecOwnFaults(t *testing.T) {
	for _, args := range []string{"exec", "exec web", "exec web --", "exec web --bogus -- ls", "exec a/b ls", "exec web -e =x -- ls", "exec --timeout 0 web ls", "exec -i -n web ls", "exec -t -n web ls"} {
		b := newBench(t, answers(nil, refusal(wire.Code_CODE_CONFLICT)))
		if code := b.run(t, strings.Fields(args)...); code != exitExecFault || b.err.Len() == 0 {
			t.Errorf("%s: exit %d, %q", args, code, b.err.String())
		}
	}
}

func TestExecSignalsGoToTheGuest(t *testing.T) {
	var b *bench
	b = newBench(t, withAgent(t, &fakeAgent{exec: func(s execStream) error {
		for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
			b.sent <- sig
		}
		var got []int32
		for len(got) < 4 {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			if sig, ok := m.GetMsg().(*guestwire.ExecRequest_Signal); ok {
				got = append(got, sig.Signal)
			}
		}
		if got[0] != 2 || got[1] != 15 || got[2] != 1 || got[3] != 3 {
			t.Errorf("signals %v", got)
		}
		return s.Send(&guestwire.ExecReply{Msg: &guestwire.ExecReply_Done{Done: &guestwire.ExecDone{Signal: 2}}})
	}}))
	if code := b.run(t, "exec", "web", "sleep", "1"); code != 130 {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
}

func TestExecThirdInterruptIsForUs(t *testing.T) {
	var b *bench
	b = newBench(t, withAgent(t, &fakeAgent{exec: func(s execStream) error {
		for range 3 {
			b.sent <- os.Interrupt
		}
		<-s.Context().Done()
		return s.Context().Err()
	}}))
	if code := b.run(t, "exec", "web", "sleep", "1"); code != exitInterrupted {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
}

func TestInterruptBeforeTheProgramRuns(t *testing.T) {
	var b *bench
	b = newBench(t, &fakeEngine{answer: func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		b.sent <- os.Interrupt
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if code := b.run(t, "exec", "web", "true"); code != exitInterrupted {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
}

func TestPing(t *testing.T) {
	b := newBench(t, withAgent(t, &fakeAgent{}))
	if code := b.run(t, "ping", "web"); code != 0 || !strings.HasPrefix(b.out.String(), "web: the agent 1.0 answered in ") {
		t.Errorf("exit %d, %q, %q", code, b.out.String(), b.err.String())
	}
	b = newBench(t, withAgent(t, &fakeAgent{}))
	var got pingJSON
	if b.run(t, "ping", "web", "--format", "json"); json.Unmarshal(b.out.Bytes(), &got) != nil || got.RoundTripNS <= 0 || !got.GuestTime.Equal(noon) {
		t.Errorf("%q", b.out.String())
	}
	b = newBench(t, withAgent(t, &fakeAgent{mute: true}))
	if code := b.run(t, "ping", "web", "--timeout", "20ms"); code != exitTimeout || !strings.Contains(b.err.String(), "did not answer in 20ms") {
		t.Errorf("mute: exit %d, %q", code, b.err.String())
	}
}

func TestInfo(t *testing.T) {
	b := newBench(t, withAgent(t, &fakeAgent{}))
	b.run(t, "info", "web")
	golden(t, "info.txt", b.out.String()+b.err.String())
	b = newBench(t, withAgent(t, &fakeAgent{}))
	b.run(t, "info", "web", "--format", "json")
	golden(t, "info.json", b.out.String()+b.err.String())
}

// withLog is an engine whose tickets lead to a log; tails gets what was asked.
func withLog(text string, asked *[]*wire.OpenLog) *fakeEngine {
	e := &fakeEngine{}
	e.answer = func(_ context.Context, msg proto.Message) (proto.Message, error) {
		*asked = append(*asked, msg.(*wire.OpenLog))
		return &wire.Ticket{}, nil
	}
	e.open = func(*wire.Ticket) (net.Conn, error) {
		ours, theirs := net.Pipe()
		last := (*asked)[len(*asked)-1]
		go func() {
			if n := last.GetTail(); n > 0 {
				text = text[max(0, len(text)-int(n)):]
			}
			_, _ = io.WriteString(theirs, text)
			_ = theirs.Close()
		}()
		return ours, nil
	}
	return e
}

func TestLogs(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for args, want := range map[string]string{
		"logs web": text, "logs web --tail 2": "two\nthree\n", "logs web --tail 9": text, "logs web -f --tail 1": "three\n", "logs --agent": text,
	} {
		var asked []*wire.OpenLog
		b := newBench(t, withLog(text, &asked))
		if code := b.run(t, strings.Fields(args)...); code != 0 || b.out.String() != want {
			t.Errorf("%s: exit %d, %q, want %q; %s", args, code, b.out.String(), want, b.err.String())
		}
		last := asked[len(asked)-1]
		if last.GetFollow() != strings.Contains(args, "-f") || (last.GetWhich() == "agent") != strings.Contains(args, "--agent") {
			t.Errorf("%s: asked %v", args, last)
		}
	}
}

func TestLogsFollowEndsByInterrupt(t *testing.T) {
	b := newBench(t, answers(&wire.Ticket{}, nil))
	ours, theirs := net.Pipe()
	defer theirs.Close()
	b.connect = func(context.Context, client.Door) (engine, error) {
		return &fakeEngine{answer: func(context.Context, proto.Message) (proto.Message, error) { return &wire.Ticket{}, nil },
			open: func(*wire.Ticket) (net.Conn, error) { return ours, nil }}, nil
	}
	go func() {
		_, _ = io.WriteString(theirs, "line\n") // returns once it was read
		b.sent <- os.Interrupt
	}()
	if code := b.run(t, "logs", "web", "-f"); code != exitInterrupted || b.out.String() != "line\n" {
		t.Errorf("exit %d, %q, %q", code, b.out.String(), b.err.String())
	}
}
