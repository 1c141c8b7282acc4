package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Bounds of SSH; of the connections together, those of the gate.
const (
	sshLoginTime   = 30 * time.Second // from the token to a login; a starved guest takes ten
	maxSSHChannels = 256              // of one connection: sessions and forwards
	maxSSHListens  = 32               // of one connection: remote forwards
	maxSSHEnv      = 256              // variables of one session
	maxSSHOpen     = 10 * time.Second // to reach what a forward leads to
)

// SSHKeys are what an SSH server needs: who it is, and who may log in.
type SSHKeys struct {
	Host       ssh.Signer
	Authorized ssh.PublicKey
}

// ParseSSHKeys reads a host's private key and the public key that may log in,
// as OpenSSH writes them.
func ParseSSHKeys(host, authorized []byte) (SSHKeys, error) {
	signer, err := ssh.ParsePrivateKey(host)
	if err != nil {
		return SSHKeys{}, fmt.Errorf("ssh host key: %w", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(authorized)
	if err != nil {
		return SSHKeys{}, fmt.Errorf("ssh authorized key: %w", err)
	}
	return SSHKeys{Host: signer, Authorized: key}, nil
}

// ServeSSH serves SSH on l until ctx is over, then ends every connection and
// returns. Who connects shows the token first, as everybody does.
func (a *Agent) ServeSSH(ctx context.Context, l net.Listener, keys SSHKeys) {
	config := sshConfig(keys, a.opts.Version)
	g := newGate(l, a.opts.Token, a.opts.Admit, nil, a.opts.Log)
	stop := context.AfterFunc(ctx, func() { _ = g.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := g.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer a.guard("ssh connection")
			a.serveSSH(ctx, c, config)
		})
	}
}

// sshConfig lets one key in, as any user of the guest.
func sshConfig(keys SSHKeys, version string) *ssh.ServerConfig {
	authorized := keys.Authorized.Marshal()
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-arcbox-agent_" + strings.Map(versionRune, version),
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), authorized) {
				return nil, errors.New("not the machine's key")
			}
			return nil, nil
		},
		// Who has shown that the key is theirs may hear which users there are.
		VerifiedPublicKeyCallback: func(c ssh.ConnMetadata, _ ssh.PublicKey, p *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			if _, err := sshAccount(c.User()); err != nil {
				return nil, &ssh.BannerError{Err: err, Message: "arcbox-agent: " + err.Error() + "\n"}
			}
			return p, nil
		},
	}
	config.AddHostKey(keys.Host)
	return config
}

// versionRune keeps a version to what SSH's greeting may have.
func versionRune(r rune) rune {
	if r > ' ' && r < 0x7f && r != '-' {
		return r
	}
	return '_'
}

// sshAccount is a user by the name alone.
func sshAccount(name string) (account, error) {
	if _, number := parseID(name); name == "" || number || strings.Contains(name, ":") {
		return account{}, fmt.Errorf("user %.64q: want a name of the guest's /etc/passwd", name)
	}
	return findUserOrSelf(name)
}

// sshConn is one connection, logged in.
type sshConn struct {
	agent    *Agent
	conn     *ssh.ServerConn
	who      account       // as at the login
	channels chan struct{} // one for each that is open
	log      *slog.Logger

	mu      sync.Mutex
	listens map[string]net.Listener // remote forwards, by what they were asked by
}

func (a *Agent) serveSSH(ctx context.Context, c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(sshLoginTime)); err != nil {
		return
	}
	conn, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		a.opts.Log.Debug("ssh: no login", "err", err)
		return
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return
	}
	who, err := sshAccount(conn.User())
	if err != nil {
		a.opts.Log.Debug("ssh: no login", "err", err)
		return
	}
	s := &sshConn{
		agent: a, conn: conn, who: who, channels: make(chan struct{}, maxSSHChannels),
		log: a.opts.Log.With("ssh_user", conn.User()), listens: map[string]net.Listener{},
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		defer a.guard("ssh requests")
		s.requests(ctx, reqs, &all)
	})
	for open := range chans {
		s.open(ctx, open, &all)
	}
	cancel()
	s.closeListens()
	all.Wait()
}

// open serves a channel that the client wants, within the bound.
func (s *sshConn) open(ctx context.Context, open ssh.NewChannel, all *sync.WaitGroup) {
	serve := map[string]func(context.Context, ssh.NewChannel){
		"session":                        s.session,
		"direct-tcpip":                   s.directTCP,
		"direct-streamlocal@openssh.com": s.directSocket,
	}[open.ChannelType()]
	if serve == nil {
		s.reject(open, ssh.UnknownChannelType, "want a session, direct-tcpip or direct-streamlocal@openssh.com")
		return
	}
	leave, ok := s.enter()
	if !ok {
		s.reject(open, ssh.ResourceShortage, fmt.Sprintf("%d channels are open already", maxSSHChannels))
		return
	}
	all.Go(func() {
		defer leave()
		defer s.agent.guard("ssh channel")
		serve(ctx, open)
	})
}

func (s *sshConn) enter() (leave func(), ok bool) {
	select {
	case s.channels <- struct{}{}:
		return func() { <-s.channels }, true
	default:
		return nil, false
	}
}

func (s *sshConn) reject(open ssh.NewChannel, reason ssh.RejectionReason, why string) {
	if err := open.Reject(reason, why); err != nil {
		s.log.Debug("ssh: refuse a channel", "err", err)
	}
}

// guard keeps a fault in what serves one client from ending process 1.
func (a *Agent) guard(what string) {
	if r := recover(); r != nil {
		a.opts.Log.Error("panicked", "in", what, "panic", r)
	}
}

// answer replies where a reply is wanted. A client that is gone needs none.
func answer(req *ssh.Request, ok bool, payload []byte) {
	if req.WantReply {
		_ = req.Reply(ok, payload)
	}
}

// terminalSize bounds what a client says of its terminal.
func terminalSize(rows, columns uint32) (*wire.TerminalSize, error) {
	size := &wire.TerminalSize{Rows: rows, Columns: columns}
	return size, checkSize(size)
}
