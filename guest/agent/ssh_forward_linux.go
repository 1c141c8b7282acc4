package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Payloads of forwards: RFC 4254, 7, and OpenSSH's PROTOCOL for sockets.
type (
	directTCP struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	directSocket struct {
		Path     string
		Reserved string
		Unused   uint32
	}
	listenTCP struct {
		Host string
		Port uint32
	}
	listenSocket  struct{ Path string }
	portReply     struct{ Port uint32 }
	forwardTCP    = directTCP
	forwardSocket struct{ Path, Reserved string }
)

const maxPort = 1<<16 - 1

// directTCP joins a channel to where it wants to go from inside the guest.
func (s *sshConn) directTCP(ctx context.Context, open ssh.NewChannel) {
	var want directTCP
	if err := ssh.Unmarshal(open.ExtraData(), &want); err != nil {
		s.reject(open, ssh.ConnectionFailed, err.Error())
		return
	}
	if want.Port == 0 || want.Port > maxPort {
		s.reject(open, ssh.ConnectionFailed, fmt.Sprintf("port %d: want 1 to %d", want.Port, maxPort))
		return
	}
	to := net.JoinHostPort(want.Host, strconv.Itoa(int(want.Port)))
	s.join(ctx, open, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	})
}

// directSocket joins a channel to a socket that the user may reach.
func (s *sshConn) directSocket(ctx context.Context, open ssh.NewChannel) {
	var want directSocket
	if err := ssh.Unmarshal(open.ExtraData(), &want); err != nil {
		s.reject(open, ssh.ConnectionFailed, err.Error())
		return
	}
	s.join(ctx, open, func(ctx context.Context) (c net.Conn, err error) {
		err = asUser(s.who, func() error {
			c, err = new(net.Dialer).DialContext(ctx, "unix", want.Path)
			return err
		})
		return c, err
	})
}

// join dials, and carries bytes until both sides have ended.
func (s *sshConn) join(ctx context.Context, open ssh.NewChannel, dial func(context.Context) (net.Conn, error)) {
	reach, cancel := context.WithTimeout(ctx, maxSSHOpen)
	defer cancel()
	c, err := dial(reach)
	if err != nil {
		s.reject(open, ssh.ConnectionFailed, err.Error())
		return
	}
	channel, reqs, err := open.Accept()
	if err != nil {
		c.Close()
		return
	}
	s.carry(ctx, channel, reqs, c)
}

// carry joins an open channel to a connection of the guest's.
func (s *sshConn) carry(ctx context.Context, channel ssh.Channel, reqs <-chan *ssh.Request, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	joined(channel, reqs, c.(halfCloser)) // TCP and unix sockets both are
}

// requests answers what is asked of the connection as a whole.
func (s *sshConn) requests(ctx context.Context, reqs <-chan *ssh.Request, all *sync.WaitGroup) {
	for req := range reqs {
		reply, err := s.request(ctx, req, all)
		if err != nil {
			s.log.Debug("ssh: request", "type", req.Type, "err", err)
		}
		answer(req, err == nil, reply)
	}
}

func (s *sshConn) request(ctx context.Context, req *ssh.Request, all *sync.WaitGroup) ([]byte, error) {
	switch req.Type {
	case "tcpip-forward", "cancel-tcpip-forward":
		var want listenTCP
		if err := ssh.Unmarshal(req.Payload, &want); err != nil {
			return nil, err
		}
		if req.Type == "cancel-tcpip-forward" {
			return nil, s.unlisten(tcpKey(want))
		}
		return s.listenTCP(ctx, want, all)
	case "streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com":
		var want listenSocket
		if err := ssh.Unmarshal(req.Payload, &want); err != nil {
			return nil, err
		}
		if req.Type == "cancel-streamlocal-forward@openssh.com" {
			return nil, s.unlisten(want.Path)
		}
		return nil, s.listenSocket(ctx, want.Path, all)
	}
	return nil, errors.New("unknown")
}

// tcpKey is what a listener on a port is known by; a path begins with a slash.
func tcpKey(l listenTCP) string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// listenTCP opens a port of the guest's that leads to the client. The client
// says where: it is the machine's owner.
func (s *sshConn) listenTCP(ctx context.Context, want listenTCP, all *sync.WaitGroup) ([]byte, error) {
	if want.Port > maxPort {
		return nil, fmt.Errorf("port %d: want 0 to %d", want.Port, maxPort)
	}
	host := want.Host
	if host == "*" {
		host = ""
	}
	at := net.JoinHostPort(host, strconv.Itoa(int(want.Port)))
	var l net.Listener
	err := asUser(s.who, func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", at)
		return err
	})
	if err != nil {
		return nil, err
	}
	asked := want.Port
	want.Port = uint32(l.Addr().(*net.TCPAddr).Port)
	err = s.listen(ctx, tcpKey(want), l, all, "forwarded-tcpip", func(c net.Conn) []byte {
		from, _ := c.RemoteAddr().(*net.TCPAddr)
		return ssh.Marshal(forwardTCP{Host: want.Host, Port: want.Port, Origin: from.IP.String(), OriginPort: uint32(from.Port)})
	})
	if err != nil || asked != 0 {
		return nil, err
	}
	return ssh.Marshal(portReply{want.Port}), nil
}

func (s *sshConn) listenSocket(ctx context.Context, path string, all *sync.WaitGroup) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("socket %.64q: want an absolute path", path)
	}
	l, err := s.socket(ctx, path)
	if err != nil {
		return err
	}
	return s.listen(ctx, path, l, all, "forwarded-streamlocal@openssh.com", func(net.Conn) []byte {
		return ssh.Marshal(forwardSocket{Path: path})
	})
}

// socket makes a socket that belongs to the user. What is in its place stays.
func (s *sshConn) socket(ctx context.Context, path string) (l net.Listener, err error) {
	err = asUser(s.who, func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "unix", path)
		if err != nil {
			return err
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return errors.Join(err, l.Close())
		}
		return nil
	})
	return l, err
}

// listen hands what comes in at l to the client, until l is closed.
func (s *sshConn) listen(ctx context.Context, key string, l net.Listener, all *sync.WaitGroup, kind string, about func(net.Conn) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listens == nil || len(s.listens) >= maxSSHListens || s.listens[key] != nil {
		return errors.Join(fmt.Errorf("%s: it is there, or %d others are", key, maxSSHListens), l.Close())
	}
	s.listens[key] = l
	all.Go(func() { s.accept(ctx, l, all, kind, about) })
	return nil
}

func (s *sshConn) unlisten(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listens[key]
	if l == nil {
		return fmt.Errorf("%s: not forwarded", key)
	}
	delete(s.listens, key)
	return l.Close()
}

func (s *sshConn) closeListens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listens {
		_ = l.Close()
	}
	s.listens = nil
}

// accept opens a channel to the client for each connection to l.
func (s *sshConn) accept(ctx context.Context, l net.Listener, all *sync.WaitGroup, kind string, about func(net.Conn) []byte) {
	defer l.Close()
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed; and where descriptors have run out, this forward ends
		}
		leave, ok := s.enter()
		if !ok {
			c.Close()
			continue
		}
		all.Go(func() {
			defer leave()
			defer c.Close()
			defer s.agent.guard("ssh forward")
			channel, reqs, err := s.conn.OpenChannel(kind, about(c))
			if err != nil {
				return
			}
			s.carry(ctx, channel, reqs, c)
		})
	}
}

// forwardAgent makes a socket that leads to the client's authentication agent,
// and tells the program of it.
func (x *session) forwardAgent(ctx context.Context, all *sync.WaitGroup) error {
	if x.agents != nil {
		return errors.New("agent forwarding: asked for twice")
	}
	dir := ""
	err := asUser(x.who, func() (err error) {
		dir, err = os.MkdirTemp("/tmp", "ssh-") // 0700, the user's
		return err
	})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "agent")
	l, err := x.socket(ctx, path)
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	x.agents = l
	x.env["SSH_AUTH_SOCK"] = path
	all.Go(func() { x.accept(ctx, l, all, "auth-agent@openssh.com", func(net.Conn) []byte { return nil }) })
	return nil
}

// closeAgents takes the socket and its directory away.
func (x *session) closeAgents() {
	if x.agents == nil {
		return
	}
	path := x.agents.Addr().String()
	_ = x.agents.Close()
	_ = os.Remove(path)
	_ = os.Remove(filepath.Dir(path))
}
