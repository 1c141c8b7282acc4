package endpoint

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/endpoint/trust"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// RemoteLimits bound what other hosts can make the engine hold. Zero means the default.
type RemoteLimits struct {
	Connections int           // that are let in: 128
	Each        int           // of them, of one client: 32
	Strangers   int           // that are not let in yet: 32
	EachAddress int           // of them, of one address: 8
	Handshake   time.Duration // until it is let in, or has joined: 5 s
	Joins       int           // that may fail, in a minute: 10
}

func (l RemoteLimits) orDefault() RemoteLimits {
	return RemoteLimits{
		Connections: orDefault(l.Connections, 128), Each: orDefault(l.Each, 32), Strangers: orDefault(l.Strangers, 32),
		EachAddress: orDefault(l.EachAddress, 8), Handshake: orDefault(l.Handshake, 5*time.Second), Joins: orDefault(l.Joins, 10),
	}
}

const (
	maxJoin    = 4 << 10 // bytes of a request to join
	joinWindow = time.Minute
)

// RemoteOptions are what Remote needs; all but Limits must be there.
type RemoteOptions struct {
	Trust   *trust.Store
	Gateway *Gateway
	Tickets *Tickets
	Log     *slog.Logger
	Limits  RemoteLimits
}

// Remote is the engine's door for other hosts: TLS in front of the gateway and
// the ticket desk. A connection is held to the role of its client, and is cut
// when the client is revoked.
type Remote struct {
	RemoteOptions
	config *tls.Config
	let    *handed // to the gateway
	work   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	lis       net.Listener
	strangers map[net.Conn]string // their address
	guests    map[*guestConn]struct{}
	failed    int // joins, in this window
	window    time.Time
}

// NewRemote makes the door; Serve opens it.
func NewRemote(o RemoteOptions) *Remote {
	o.Limits = o.Limits.orDefault()
	return &Remote{
		RemoteOptions: o, config: o.Trust.Config(), let: newHanded(),
		strangers: map[net.Conn]string{}, guests: map[*guestConn]struct{}{},
	}
}

// guestConn is a connection of a client of another host.
type guestConn struct {
	*tls.Conn
	client trust.Client
	leave  func()
}

// Close implements net.Conn. It waits for nobody: TLS would say good-bye first, to
// one who may not listen.
func (c *guestConn) Close() error {
	defer c.leave()
	return c.NetConn().Close()
}

// Serve answers on a listener until Close.
func (r *Remote) Serve(lis net.Listener) error {
	r.mu.Lock()
	r.lis = lis
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return lis.Close()
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = r.Gateway.server.Serve(r.let) // it ends because this listener did
	}()
	for {
		c, err := lis.Accept()
		if err != nil {
			_ = r.let.Close()
			if errors.Is(err, net.ErrClosed) {
				err = nil
			}
			<-served
			return err
		}
		if r.enter(c) {
			go r.one(c)
		}
	}
}

// enter counts a stranger; one too many is closed before a word is said.
func (r *Remote) enter(c net.Conn) bool {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	r.mu.Lock()
	defer r.mu.Unlock()
	same := 0
	for _, other := range r.strangers {
		if other == host {
			same++
		}
	}
	if r.closed || len(r.strangers) >= r.Limits.Strangers || same >= r.Limits.EachAddress {
		_ = c.Close() // nothing was said on it
		return false
	}
	r.strangers[c] = host
	r.work.Add(1)
	return true
}

// one finds out who it is, and hands the connection on.
func (r *Remote) one(c net.Conn) {
	defer r.work.Done()
	from := c.RemoteAddr().String()
	guest, err := r.admit(c)
	r.mu.Lock()
	delete(r.strangers, c)
	r.mu.Unlock()
	if err != nil {
		_ = c.Close()
		r.Log.Warn("refused a connection of another host", "from", from, "err", short(err.Error()))
		return
	}
	if guest == nil { // it has joined
		_ = c.Close()
		return
	}
	r.Log.Info("a client of another host", "from", from, "principal", guest.client.Principal(), "speaks", guest.ConnectionState().NegotiatedProtocol)
	if guest.ConnectionState().NegotiatedProtocol == wire.SpeakStream {
		r.stream(guest)
		return
	}
	if !r.let.hand(guest) {
		_ = guest.Close()
	}
}

// admit shakes hands, all of it before one deadline.
func (r *Remote) admit(c net.Conn) (*guestConn, error) {
	if err := c.SetDeadline(time.Now().Add(r.Limits.Handshake)); err != nil {
		return nil, err
	}
	secure := tls.Server(c, r.config)
	if err := secure.HandshakeContext(context.Background()); err != nil { // it has its deadline
		return nil, err
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol == wire.SpeakJoin {
		return nil, r.join(secure)
	}
	guest := &guestConn{Conn: secure}
	if err := r.register(guest); err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, guest.Close())
	}
	return guest, nil
}

// register asks once more who it is, under the lock that Revoke takes: between
// the handshake and here the client may have been revoked.
func (r *Remote) register(guest *guestConn) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	client, err := r.Trust.Who(guest.ConnectionState().PeerCertificates[0])
	if err != nil {
		return err
	}
	same := 0
	for other := range r.guests {
		if other.client.Name == client.Name {
			same++
		}
	}
	if r.closed || len(r.guests) >= r.Limits.Connections || same >= r.Limits.Each {
		return fmt.Errorf("too many connections are open: %d, %d of them of %s", len(r.guests), same, client.Name)
	}
	guest.client = client
	guest.leave = sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.guests, guest)
	})
	r.guests[guest] = struct{}{}
	return nil
}

// Revoke takes a client's right away, on disk first, and cuts what it has open.
func (r *Remote) Revoke(name string) (cut int, err error) {
	if err := r.Trust.Revoke(name); err != nil {
		return 0, err
	}
	r.mu.Lock()
	var open []*guestConn
	for g := range r.guests {
		if strings.EqualFold(g.client.Name, name) {
			open = append(open, g)
		}
	}
	r.mu.Unlock()
	for _, g := range open {
		_ = g.Close()
	}
	r.Log.Warn("revoked a client of another host", "name", name, "cut", len(open))
	return len(open), nil
}

// Open tells how many connections a client has.
func (r *Remote) Open(name string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for g := range r.guests {
		if g.client.Name == name {
			n++
		}
	}
	return n
}

// join answers one request. Whoever tries tokens is soon not answered at all.
func (r *Remote) join(c *tls.Conn) error {
	if !r.mayJoin() {
		return errors.New("too many failed to join within a minute")
	}
	var q wire.JoinRequest
	var reply wire.JoinReply
	err := json.NewDecoder(io.LimitReader(c, maxJoin)).Decode(&q)
	if err == nil {
		var client trust.Client
		var certificate []byte
		client, certificate, err = r.Trust.Join(q.Secret, q.Key)
		reply = wire.JoinReply{Name: client.Name, Role: client.Role, Certificate: string(certificate)}
	}
	if err != nil {
		reply = wire.JoinReply{Error: err.Error()}
		r.mu.Lock()
		r.failed++
		r.mu.Unlock()
	}
	return errors.Join(err, json.NewEncoder(c).Encode(reply))
}

func (r *Remote) mayJoin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.window) > joinWindow {
		r.window, r.failed = now, 0
	}
	return r.failed < r.Limits.Joins
}

// stream joins a byte stream to the ticket desk's kind of connection, a unix
// socket, whose other end may go to a VM host.
func (r *Remote) stream(guest *guestConn) {
	defer func() { _ = guest.Close() }() // it is over
	near, far, err := unixPair()
	if err != nil {
		r.Log.Error("no byte stream for another host", "err", err)
		return
	}
	defer func() { _ = near.Close() }()
	if !r.Tickets.enter(far) {
		_ = far.Close()
		return
	}
	go r.Tickets.one(&cappedConn{UnixConn: far, release: func() {}}, guest.client.Principal())
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(near, guest)
		_ = near.CloseWrite()
		// A good-bye of TLS is one direction's end; the end of TCP is both.
		_, _ = guest.NetConn().Read(make([]byte, 1))
		_ = near.Close()
	}()
	_, _ = io.Copy(guest, near)
	_ = guest.CloseWrite()
	_ = guest.Close() // nothing comes any more: whoever still sends has nobody who reads
	<-up
}

// Close stops serving and ends what is open.
func (r *Remote) Close() {
	r.mu.Lock()
	r.closed = true
	if r.lis != nil {
		_ = r.lis.Close() // Serve says why it ended
	}
	for c := range r.strangers {
		_ = c.Close()
	}
	var open []*guestConn
	for g := range r.guests {
		open = append(open, g)
	}
	r.mu.Unlock()
	for _, g := range open {
		_ = g.Close()
	}
	r.work.Wait()
}

// handed is a listener whose connections are brought to it.
type handed struct {
	conns chan net.Conn
	over  chan struct{}
	close func()
}

func newHanded() *handed {
	h := &handed{conns: make(chan net.Conn), over: make(chan struct{})}
	h.close = sync.OnceFunc(func() { close(h.over) })
	return h
}

func (h *handed) hand(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.over:
		return false
	}
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handed) Close() error { h.close(); return nil }

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }
