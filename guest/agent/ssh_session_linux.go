package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// sftpSubsystem is served by this program, run as the user.
const sftpSubsystem = "sftp"

// session is one program that is wanted, and then runs.
type session struct {
	*sshConn
	channel  ssh.Channel
	env      map[string]string
	terminal *wire.TerminalSize
	modes    []terminalMode
	agents   net.Listener // for the client's authentication agent; nil = none
	begun    bool

	mu      sync.Mutex
	running *program           // nil = not yet, or no more
	late    *wire.TerminalSize // what the terminal is to have once it runs
}

// Payloads of requests, as RFC 4254 has them.
type (
	ptyRequest struct {
		Term          string
		Columns, Rows uint32
		Width, Height uint32
		Modes         string
	}
	sizeRequest   struct{ Columns, Rows, Width, Height uint32 }
	envRequest    struct{ Name, Value string }
	stringRequest struct{ Text string } // exec, subsystem, signal
	exitStatus    struct{ Status uint32 }
	exitSignal    struct {
		Name       string
		Core       bool
		Text, Lang string
	}
)

// session serves a channel of that type until the client or the program ends
// it.
func (s *sshConn) session(ctx context.Context, open ssh.NewChannel) {
	channel, reqs, err := open.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &session{sshConn: s, channel: channel, env: map[string]string{}}
	var all sync.WaitGroup
	defer all.Wait()
	defer x.closeAgents()
	for req := range reqs { // ends with the channel
		x.take(ctx, req, &all)
	}
	cancel()
}

// take obeys one request. None of them waits for the program.
func (x *session) take(ctx context.Context, req *ssh.Request, all *sync.WaitGroup) {
	switch req.Type {
	case "exec", "shell", "subsystem":
		if x.begun {
			answer(req, false, nil)
			return
		}
		start, path, err := x.wanted(req)
		if err != nil {
			answer(req, false, nil)
			return
		}
		x.begun = true
		answer(req, true, nil)
		all.Go(func() {
			defer func() { _ = x.channel.Close() }() // the end of the session, also for a client that goes on
			defer x.agent.guard("ssh session")
			x.run(ctx, start, path)
		})
	case "window-change":
		answer(req, x.resize(req.Payload) == nil, nil)
	case "signal":
		answer(req, x.signal(req.Payload) == nil, nil)
	case "pty-req", "env", "auth-agent-req@openssh.com":
		answer(req, !x.begun && x.prepare(ctx, req, all) == nil, nil)
	default:
		answer(req, false, nil)
	}
}

// prepare takes what must be said before the program runs.
func (x *session) prepare(ctx context.Context, req *ssh.Request, all *sync.WaitGroup) error {
	switch req.Type {
	case "pty-req":
		var want ptyRequest
		if err := ssh.Unmarshal(req.Payload, &want); err != nil {
			return err
		}
		size, err := terminalSize(want.Rows, want.Columns)
		if err != nil {
			return err
		}
		modes, err := parseTerminalModes([]byte(want.Modes))
		if err != nil {
			return err
		}
		x.terminal, x.modes = size, modes
		if want.Term != "" {
			x.env["TERM"] = want.Term
		}
		return nil
	case "env":
		var want envRequest
		if err := ssh.Unmarshal(req.Payload, &want); err != nil {
			return err
		}
		if len(x.env) >= maxSSHEnv {
			return fmt.Errorf("env: more than %d variables", maxSSHEnv)
		}
		x.env[want.Name] = want.Value
		return nil
	default:
		return x.forwardAgent(ctx, all)
	}
}

// wanted is the program that a request asks for. A command is the user's
// shell's to understand, as with every sshd.
func (x *session) wanted(req *ssh.Request) (start *wire.ExecStart, path string, err error) {
	x.env["SSH_CLIENT"] = "UNKNOWN 65535 65535" // as sshd has it where there is no address
	x.env["SSH_CONNECTION"] = "UNKNOWN 65535 UNKNOWN 65535"
	start = &wire.ExecStart{Env: x.env, Terminal: x.terminal, Login: true}
	if req.Type == "shell" {
		return start, "", checkStart(start)
	}
	var want stringRequest
	if err := ssh.Unmarshal(req.Payload, &want); err != nil {
		return nil, "", err
	}
	start.Login = false
	switch {
	case req.Type == "exec":
		start.Argv = []string{x.who.shell, "-c", want.Text}
	case want.Text == sftpSubsystem:
		start.Argv, path = []string{"arcbox-agent", SFTPServer}, selfPath
	default:
		return nil, "", fmt.Errorf("subsystem %.64q: want %s", want.Text, sftpSubsystem)
	}
	return start, path, checkStart(start)
}

// run runs the program, and tells how it ended.
func (x *session) run(ctx context.Context, start *wire.ExecStart, path string) {
	leave, ok := x.agent.enter()
	if !ok {
		x.failed(fmt.Errorf("%d programs run through the agent already", maxExecs))
		return
	}
	defer leave()
	ran, err := x.launch(start, path)
	if err != nil {
		x.failed(err)
		return
	}
	defer ran.io.close()
	x.set(ran)
	defer x.set(nil)
	if x.attend(ctx, ran) == nil {
		x.ended(ran.child.status)
	}
}

// launch looks a program up and starts it. path stands for the one that its
// command line would lead to; "" = it leads there.
func (x *session) launch(start *wire.ExecStart, path string) (*program, error) {
	argv := start.GetArgv()
	if path != "" {
		start.Argv = []string{path}
	}
	p, err := prepareAs(x.who, start)
	if err != nil {
		return nil, err
	}
	if path != "" {
		p.argv = argv
	}
	io, err := p.streams(start.GetTerminal())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStreams, err)
	}
	if io.terminal {
		io.setModes(x.modes)
		if name, err := io.name(); err == nil {
			p.env = append(p.env, "SSH_TTY="+name)
		}
	}
	return x.agent.launchOn(p, io)
}

// attend carries the streams until the program has ended and its output is at
// its end. The window of the channel bounds what is under way.
func (x *session) attend(ctx context.Context, p *program) error {
	var reading sync.WaitGroup
	go feedFrom(x.channel, p.io) // ends with the channel
	reading.Go(func() { pump(p.io.stdout, writeAll(x.channel)) })
	if p.io.stderr != nil {
		reading.Go(func() { pump(p.io.stderr, writeAll(x.channel.Stderr())) })
	}
	p.wait(ctx, 0)
	p.io.linger()
	err := drained(ctx, &reading)
	p.io.stdin.Close() // ends a write under way
	return err
}

// ended tells the program's end as the protocol has it.
func (x *session) ended(ws unix.WaitStatus) {
	_ = x.channel.CloseWrite() // a client that is gone is not told
	if ws.Signaled() {
		name := unix.SignalName(ws.Signal())
		if len(name) > 3 {
			name = name[3:] // SIGTERM is TERM there
		}
		_, _ = x.channel.SendRequest("exit-signal", false, ssh.Marshal(exitSignal{Name: name, Core: ws.CoreDump()}))
		return
	}
	_, _ = x.channel.SendRequest("exit-status", false, ssh.Marshal(exitStatus{uint32(ws.ExitStatus())}))
}

// failed tells a person why nothing ran.
func (x *session) failed(err error) {
	status := int32(statusCantRun)
	if not, ok := errors.AsType[*notRunError](err); ok {
		status = not.status
	}
	_, _ = fmt.Fprintf(x.channel.Stderr(), "arcbox-agent: %v\n", err)
	_, _ = x.channel.SendRequest("exit-status", false, ssh.Marshal(exitStatus{uint32(status)}))
}

func (x *session) set(p *program) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running = p
	if p != nil && p.io.terminal && x.late != nil {
		_ = p.io.resize(x.late) // it is as large as it was made, then
	}
}

// resize is of the terminal that is there, or is to be.
func (x *session) resize(payload []byte) error {
	var want sizeRequest
	if err := ssh.Unmarshal(payload, &want); err != nil {
		return err
	}
	size, err := terminalSize(want.Rows, want.Columns)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running == nil {
		x.late = size
		return nil
	}
	if !x.running.io.terminal {
		return errors.New("the program has no terminal")
	}
	return x.running.io.resize(size)
}

func (x *session) signal(payload []byte) error {
	var want stringRequest
	if err := ssh.Unmarshal(payload, &want); err != nil {
		return err
	}
	sig := unix.SignalNum("SIG" + want.Text)
	if sig == 0 {
		return fmt.Errorf("signal %.64q: want a name such as TERM", want.Text)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running == nil {
		return os.ErrProcessDone
	}
	if !x.running.io.interrupt(sig) {
		x.running.signal(sig)
	}
	return nil
}

// name is the path of a terminal's slave.
func (s streams) name() (string, error) {
	n := 0
	err := s.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	return "/dev/pts/" + strconv.Itoa(n), err
}
