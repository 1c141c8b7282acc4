package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	vmapi "github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	vmclient "github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

const (
	helloTime = 3 * time.Second // for a process that listens to say so
	startTime = 10 * time.Second
	endTime   = 10 * time.Second
	writeTime = 10 * time.Second
)

var (
	errNobody = errors.New("network: nobody listens")
	errEnded  = errors.New("network: the process ended")
)

// session is a connection to a process.
type session struct {
	conn  net.Conn
	lines *api.Lines
	hello api.Hello
}

// find takes over the process that there is, or starts one.
func (n *Network) find(ctx context.Context) (*session, error) {
	s, err := n.connect(ctx)
	if err == nil {
		n.o.Log.Info("network process", "found", s.hello.Version, "started", s.hello.Started)
		return s, nil
	}
	if n.empty() {
		return nil, err
	}
	if err := n.prepare(); err != nil {
		return nil, err
	}
	lock, err := vmclient.TakeLock(ctx, n.place)
	if errors.Is(err, vmclient.ErrHeld) { // whoever has it does not answer
		n.o.Log.Warn("the network process does not answer: it is killed")
		limited, cancel := context.WithTimeout(ctx, endTime)
		lock, err = vmclient.End(limited, n.place)
		cancel()
	}
	if err != nil {
		return nil, err
	}
	return n.start(ctx, lock)
}

// start starts a process and awaits its hello.
func (n *Network) start(ctx context.Context, lock *vmclient.Lock) (*session, error) {
	defer func() { _ = lock.Close() }() // nothing where it was handed on
	input, err := api.EncodeConfig(api.Config{Version: 1, Dir: n.o.Dir, RunDir: n.o.RunDir})
	if err != nil {
		return nil, err
	}
	cmd, err := vmclient.Spawn(n.o.Bin, []string{"arcbox-netd", "home=" + n.o.Dir}, lock, input)
	if err != nil {
		return nil, err
	}
	dead := make(chan struct{})
	go func() { // reaps it, whenever that is
		_ = cmd.Wait()
		close(dead)
	}()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		s, err := n.connect(ctx)
		if err == nil {
			n.o.Log.Info("network process", "pid", cmd.Process.Pid, "version", s.hello.Version)
			return s, nil
		}
		select {
		case <-dead:
			tail, _ := vmclient.Tail(n.place, vmapi.ErrFile, vmapi.MaxText)
			return nil, fmt.Errorf("it ended before its hello: %s", strings.TrimSpace(tail))
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-dead
			return nil, fmt.Errorf("no hello: %w", err)
		case <-time.After(wait):
		}
	}
}

// connect begins a session with whoever listens.
func (n *Network) connect(ctx context.Context) (*session, error) {
	path, err := process.SocketPath(n.o.RunDir, vmapi.HostSocket)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: helloTime}
	c, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, errNobody
	}
	if err != nil {
		return nil, err
	}
	s := &session{conn: c, lines: api.NewLines(c)}
	_ = c.SetReadDeadline(time.Now().Add(helloTime))
	line, err := s.lines.Next()
	_ = c.SetReadDeadline(time.Time{})
	if err == nil && line.Hello == nil {
		err = errors.New("network: it does not say hello")
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s.hello = *line.Hello
	return s, nil
}

// talk says what is wanted and takes in how it is, until the process or ctx
// ends.
func (n *Network) talk(ctx context.Context, s *session) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	n.up() // before anything is heard, which would be told with the trouble of before
	over := make(chan error, 1)
	go func() { over <- n.listen(s) }()
	if err := n.sayAll(s); err != nil {
		return errors.Join(errEnded, err)
	}
	for {
		select {
		case err := <-over:
			return errors.Join(errEnded, err)
		case <-n.poke:
			if err := n.sayNews(s); err != nil {
				return errors.Join(errEnded, err)
			}
		}
	}
}

// sayAll tells a process that knows nothing, or what an engine before this one
// wanted.
func (n *Network) sayAll(s *session) error {
	n.mu.Lock()
	var all []api.Machine
	for _, m := range n.wanted {
		all = append(all, m)
	}
	clear(n.news)
	n.mu.Unlock()
	for _, m := range all {
		if err := s.say(api.Line{Set: &m}); err != nil {
			return err
		}
	}
	return s.say(api.Line{All: true})
}

// sayNews tells first who belongs no longer: another may have that one's address.
func (n *Network) sayNews(s *session) error {
	n.mu.Lock()
	var drops, sets []api.Line
	for id, ended := range n.news {
		if ended { // what is known of one launch is not to be told of the next
			drops = append(drops, api.Line{Drop: id})
		}
		if m, ok := n.wanted[id]; ok {
			sets = append(sets, api.Line{Set: &m})
		}
	}
	clear(n.news)
	n.mu.Unlock()
	for _, l := range append(drops, sets...) {
		if err := s.say(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) say(l api.Line) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	return api.Write(s.conn, l)
}

// listen takes in states until the connection ends.
func (n *Network) listen(s *session) error {
	for {
		line, err := s.lines.Next()
		if err != nil {
			return err
		}
		switch {
		case line.State != nil:
			n.heard(line.State.ID, State{State: *line.State})
		case line.Refused != nil:
			n.o.Log.Error("network process refuses a machine", "machine", line.Refused.ID, "err", line.Refused.Error)
			n.heard(line.Refused.ID, State{State: api.State{ID: line.Refused.ID}, Trouble: line.Refused.Error})
		}
	}
}

func (n *Network) heard(id string, s State) {
	n.mu.Lock()
	_, wanted := n.wanted[id]
	if wanted {
		n.states[id] = s
	}
	n.mu.Unlock()
	if wanted {
		n.tell([]string{id})
	}
}
