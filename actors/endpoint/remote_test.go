package endpoint

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint/trust"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// door is an engine that listens for other hosts, with a clock of its own.
type door struct {
	*engine
	t       *testing.T
	remote  *Remote
	trust   *trust.Store
	tickets *Tickets
	address string
	later   atomic.Int64 // the store's clock is ahead by so much
}

func startDoor(t *testing.T, limits RemoteLimits) *door {
	t.Helper()
	d := &door{engine: startEngine(t, Limits{}, ownOrRoot), t: t}
	var err error
	d.trust, err = trust.Open(filepath.Join(t.TempDir(), "clients.json"), func() time.Time { return time.Now().Add(time.Duration(d.later.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	d.tickets = NewTickets(TicketOptions{Log: slog.New(d.log)})
	d.remote = NewRemote(RemoteOptions{Trust: d.trust, Gateway: d.gateway, Tickets: d.tickets, Log: slog.New(d.log), Limits: limits})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = lis.Addr().String()
	keeper := &Keeper{Remote: d.remote, Listen: d.address, Keys: func(name string) (*wire.LoginKeys, error) {
		if name != "web" {
			return nil, fs.ErrNotExist
		}
		return &wire.LoginKeys{Login: []byte("key"), KnownHosts: []byte("known")}, nil
	}}
	if _, err := d.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return keeper }), wire.Keeper); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.remote.Serve(lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		d.remote.Close()
		d.tickets.Close(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return d
}

// token invites as this host's user does.
func (d *door) token(name, role string) wire.Token {
	d.t.Helper()
	c, err := client.Dial(d.t.Context(), client.Socket(d.socket))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	got, err := client.Call[*wire.Invited](d.t.Context(), c, &wire.InviteClient{Request: asked(), Name: name, Role: role, LifeNanos: int64(time.Hour)})
	if err != nil {
		d.t.Fatal(err)
	}
	t, err := wire.ParseToken(got.GetToken())
	if err != nil {
		d.t.Fatal(err)
	}
	return t
}

func asked() *wire.Request { return &wire.Request{Id: uuid.NewString()} }

func (d *door) join(name, role string) client.Identity {
	d.t.Helper()
	_, id, err := client.Join(d.t.Context(), d.token(name, role))
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

func (d *door) dial(id client.Identity) (*client.Client, error) {
	way, err := client.NewTCP(d.address, id)
	if err != nil {
		d.t.Fatal(err)
	}
	return client.Dial(d.t.Context(), way)
}

// ask puts one question as a client of another host, or says why it could not.
func (d *door) ask(id client.Identity, m proto.Message) (proto.Message, error) {
	c, err := d.dial(id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return client.Call[proto.Message](d.t.Context(), c, m)
}

// config is TLS as an honest client has it, for dishonest ones to change.
func (d *door) config(id client.Identity) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.SpeakEngine}, MinVersion: tls.VersionTLS12} //nolint:gosec // attackers trust anybody
	if id.Certificate != "" {
		own, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
		if err != nil {
			d.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c
}

// shake is refused where the handshake fails, or the first word is not answered.
func (d *door) shake(config *tls.Config) error {
	c, err := tls.Dial("tcp", d.address, config) //nolint:noctx // it has a deadline
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = c.Read(make([]byte, 1)) // the server's settings, where it serves
	return refusedOnly(err)
}

// plain is refused where the connection is closed and nothing came but an alert.
func (d *door) plain(say []byte) error {
	c, err := net.Dial("tcp", d.address) //nolint:noctx // it has a deadline
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write(say)
	answer, err := io.ReadAll(c)
	if len(answer) > 16 {
		return refusedOnly(nil)
	}
	if err == nil {
		err = io.EOF
	}
	return refusedOnly(err)
}

var errServed = errors.New("it was served")

// refusedOnly turns what was served, or was left hanging, into no refusal at all.
func refusedOnly(err error) error {
	if e, ok := errors.AsType[net.Error](err); err == nil || ok && e.Timeout() {
		return fmt.Errorf("%w: %w", errServed, errors.Join(err))
	}
	return err
}

// signed is a certificate that somebody makes for himself, or with a key of his own.
func signed(t *testing.T, parent *x509.Certificate, signer any) client.Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "laptop"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return identityOf(t, raw, key)
}

func TestRemoteServes(t *testing.T) {
	d := startDoor(t, RemoteLimits{})
	laptop, wall := d.join("laptop", trust.Admin), d.join("wall", trust.Viewer)
	for want, id := range map[string]client.Identity{"admin:laptop": laptop, "viewer:wall": wall} {
		m, err := d.ask(id, &wire.InspectMachine{Name: "web"})
		if err != nil || m.(*wire.Machine).GetDesired() != want {
			t.Errorf("the principal is %v, %v; want %s", m, err, want)
		}
	}
	// A byte stream, both ways, closed in one direction.
	ticket := d.tickets.Issue(func(_ context.Context, c *net.UnixConn) error {
		_, err := io.Copy(c, c)
		return errors.Join(err, c.CloseWrite())
	}, "admin:laptop")
	c, err := d.dial(laptop)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.OpenTicket(t.Context(), &wire.Ticket{Ticket: ticket, Socket: "/etc/passwd"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	said := bytes.Repeat([]byte("x"), 1<<20)
	go func() {
		_, _ = s.Write(said)
		_ = s.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, said) {
		t.Errorf("%d bytes of %d came back: %v", len(got), len(said), err)
	}
}

// TestRevokedIsCutAtOnce: what is open ends before the revocation is answered, and
// nothing new begins.
func TestRevokedIsCutAtOnce(t *testing.T) {
	d := startDoor(t, RemoteLimits{})
	id, other := d.join("laptop", trust.Admin), d.join("other", trust.Admin)
	c, err := d.dial(id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	open := make(chan struct{})
	ticket := d.tickets.Issue(func(ctx context.Context, _ *net.UnixConn) error { close(open); <-ctx.Done(); return nil }, "admin:laptop")
	stream, err := c.OpenTicket(t.Context(), &wire.Ticket{Ticket: ticket})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	<-open
	waiting := make(chan error, 1)
	go func() {
		_, err := client.Call[proto.Message](t.Context(), c, &wire.AwaitMachine{Name: "web"}) // never answered
		waiting <- err
	}()
	local, err := client.Dial(t.Context(), client.Socket(d.socket))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	got, err := client.Call[*wire.Revoked](t.Context(), local, &wire.RevokeClient{Request: asked(), Name: "Laptop"})
	if err != nil || got.GetCut() != 2 {
		t.Fatalf("cut %d, %v; want 2", got.GetCut(), err)
	}
	if err := <-waiting; !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("what waited got %v", err)
	}
	if _, err := stream.Read(make([]byte, 1)); err == nil {
		t.Error("the byte stream goes on")
	}
	if d.remote.Open("laptop") != 0 {
		t.Error("it has connections")
	}
	if _, err := d.ask(id, &wire.ListMachines{}); !errors.Is(err, client.ErrShut) {
		t.Errorf("it was let in again, or not told why not: %v", err)
	}
	if _, err := d.ask(other, &wire.ListMachines{}); err != nil {
		t.Errorf("another client: %v", err)
	}
}

// TestRemoteAttacks: each is refused, and an honest client is served after it.
func TestRemoteAttacks(t *testing.T) {
	const long = 300 * 24 * time.Hour
	for name, attack := range map[string]func(t *testing.T, d *door, honest client.Identity) error{
		"no certificate":     func(_ *testing.T, d *door, _ client.Identity) error { return d.shake(d.config(client.Identity{})) },
		"self-signed":        func(t *testing.T, d *door, _ client.Identity) error { return d.shake(d.config(signed(t, nil, nil))) },
		"wrong authority":    wrongAuthority,
		"signed by a client": signedByAClient,
		"expired certificate": func(_ *testing.T, d *door, id client.Identity) error {
			d.later.Store(int64(2 * long))
			defer d.later.Store(0)
			return d.shake(d.config(id))
		},
		"revoked":        revoked,
		"replayed token": replayed,
		"expired token": func(t *testing.T, d *door, _ client.Identity) error {
			token := d.token("late", trust.Admin)
			d.later.Store(int64(2 * time.Hour))
			defer d.later.Store(0)
			_, _, err := client.Join(t.Context(), token)
			return err
		},
		"invented token": func(t *testing.T, d *door, _ client.Identity) error {
			_, _, err := client.Join(t.Context(), wire.Token{Address: d.address, Pin: d.trust.Pin(), Secret: strings.Repeat("0", 64)})
			return err
		},
		"engine of another": func(t *testing.T, d *door, _ client.Identity) error {
			token := d.token("lured", trust.Admin)
			token.Pin = strings.Repeat("0", 64)
			_, _, err := client.Join(t.Context(), token)
			return err
		},
		"viewer writes": func(_ *testing.T, d *door, _ client.Identity) error {
			_, err := d.ask(d.join("wall", trust.Viewer), &wire.StopMachine{Request: asked(), Name: "web"})
			return unsafeOnly(err)
		},
		"viewer opens a guest": func(_ *testing.T, d *door, _ client.Identity) error {
			_, err := d.ask(d.join("wall", trust.Viewer), &wire.OpenGuest{Request: asked(), Name: "web"})
			return unsafeOnly(err)
		},
		"viewer borrows keys": func(_ *testing.T, d *door, _ client.Identity) error {
			_, err := d.ask(d.join("wall", trust.Viewer), &wire.LendKeys{Request: asked(), Name: "web"})
			return unsafeOnly(err)
		},
		"admin invites": func(_ *testing.T, d *door, id client.Identity) error {
			_, err := d.ask(id, &wire.InviteClient{Request: asked(), Name: "friend", Role: trust.Admin, LifeNanos: 1e9})
			return unsafeOnly(err)
		},
		"plaintext": func(_ *testing.T, d *door, _ client.Identity) error {
			return d.plain([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		},
		"garbage": func(_ *testing.T, d *door, _ client.Identity) error {
			return d.plain(bytes.Repeat([]byte{0x16, 3, 1, 0xff, 0xff}, 1<<14))
		},
		"TLS 1.2": func(_ *testing.T, d *door, id client.Identity) error {
			c := d.config(id)
			c.MaxVersion = tls.VersionTLS12
			return d.shake(c)
		},
		"half-open": func(_ *testing.T, d *door, _ client.Identity) error { return d.plain(nil) },
		"slowloris": func(_ *testing.T, d *door, _ client.Identity) error { return d.plain([]byte{0x16, 3, 1, 2, 0, 1}) },
		"junk for a server's name": func(_ *testing.T, d *door, _ client.Identity) error {
			c := d.config(client.Identity{})
			c.ServerName = strings.Repeat("x.", 120) + "x"
			return d.shake(c)
		},
		"speaks nothing": func(_ *testing.T, d *door, id client.Identity) error {
			c := d.config(id)
			c.NextProtos = nil
			return d.shake(c)
		},
		"speaks HTTP": func(_ *testing.T, d *door, id client.Identity) error {
			c := d.config(id)
			c.NextProtos = []string{"h2"}
			return d.shake(c)
		},
		"both at once": func(_ *testing.T, d *door, _ client.Identity) error {
			c := d.config(client.Identity{})
			c.NextProtos = []string{wire.SpeakJoin, wire.SpeakEngine}
			return d.shake(c)
		},
		"joins as an engine's client": func(_ *testing.T, d *door, _ client.Identity) error {
			return d.speak(client.Identity{}, wire.SpeakJoin, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		},
		"endless request to join": func(_ *testing.T, d *door, _ client.Identity) error {
			return d.speak(client.Identity{}, wire.SpeakJoin, []byte(`{"secret":"`+strings.Repeat("x", 1<<20)))
		},
		"oversized frames": func(_ *testing.T, d *door, id client.Identity) error {
			frame := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1)
			return d.speak(id, wire.SpeakEngine, append(frame, make([]byte, 1<<20)...))
		},
		"somebody else's ticket": func(_ *testing.T, d *door, id client.Identity) error {
			ticket := d.tickets.Issue(func(context.Context, *net.UnixConn) error { return nil }, "admin:other")
			c, err := d.dial(id)
			if err != nil {
				return refusedOnly(nil)
			}
			defer c.Close()
			_, err = c.OpenTicket(t.Context(), &wire.Ticket{Ticket: ticket})
			return err
		},
		"too many connections": func(_ *testing.T, d *door, id client.Identity) error {
			for range 8 {
				c, err := d.dial(id)
				if err != nil {
					return err
				}
				defer c.Close()
			}
			return errServed
		},
		"too many strangers": func(t *testing.T, d *door, id client.Identity) error {
			eventually(t, "who has joined is a stranger no more", func() bool { return d.strangers() == 0 })
			for range 8 {
				c, err := net.Dial("tcp", d.address) //nolint:noctx // this host
				if err != nil {
					return err
				}
				defer c.Close()
			}
			return d.shake(d.config(id))
		},
	} {
		t.Run(name, func(t *testing.T) {
			limits := RemoteLimits{Each: 4, EachAddress: 4, Handshake: patience}
			if name == "half-open" || name == "slowloris" {
				limits.Handshake = 300 * time.Millisecond
			}
			d := startDoor(t, limits)
			honest := d.join("laptop", trust.Admin)
			err := attack(t, d, honest)
			if err == nil || errors.Is(err, errServed) {
				t.Errorf("it was not refused: %v", err)
			}
			t.Logf("refused: %.120v", err)
			if name == "revoked" {
				honest = d.join("laptop", trust.Admin)
			}
			eventually(t, "an honest client is served", func() bool {
				_, err := d.ask(honest, &wire.ListMachines{})
				return err == nil
			})
		})
	}
}

// unsafeOnly is a refusal by role, and no other.
func unsafeOnly(err error) error {
	if r, ok := errors.AsType[*client.RefusedError](err); !ok || r.Code != wire.Code_CODE_UNSAFE {
		return fmt.Errorf("%w: %w", errServed, errors.Join(err))
	}
	return err
}

// strangers are the connections that the door has not let in yet.
func (d *door) strangers() int {
	d.remote.mu.Lock()
	defer d.remote.mu.Unlock()
	return len(d.remote.strangers)
}

// speak says something over TLS, and is refused where nothing but an error comes back.
func (d *door) speak(id client.Identity, what string, say []byte) error {
	config := d.config(id)
	config.NextProtos = []string{what}
	c, err := tls.Dial("tcp", d.address, config) //nolint:noctx // it has a deadline
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(say); err != nil {
		return refusedOnly(err)
	}
	answer, err := io.ReadAll(c)
	var reply wire.JoinReply
	if json.Unmarshal(answer, &reply) == nil && reply.Error != "" {
		return errors.New(reply.Error)
	}
	if err == nil {
		err = io.EOF
	}
	return refusedOnly(err)
}

func wrongAuthority(t *testing.T, d *door, _ client.Identity) error {
	return d.shake(d.config(startDoor(t, RemoteLimits{}).join("laptop", trust.Admin)))
}

// signedByAClient is what a client makes of its own key: it is no authority.
func signedByAClient(t *testing.T, d *door, id client.Identity) error {
	own := d.config(id).Certificates[0]
	forged := d.config(signed(t, own.Leaf, own.PrivateKey))
	forged.Certificates[0].Certificate = append(forged.Certificates[0].Certificate, own.Certificate...)
	return d.shake(forged)
}

func revoked(_ *testing.T, d *door, id client.Identity) error {
	if _, err := d.remote.Revoke("laptop"); err != nil {
		d.t.Fatal(err)
	}
	return d.shake(d.config(id))
}

func replayed(t *testing.T, d *door, _ client.Identity) error {
	token := d.token("once", trust.Admin)
	if _, _, err := client.Join(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	_, _, err := client.Join(t.Context(), token)
	return err
}

// TestForgedPrincipal: who one is comes from the certificate, whatever the message's
// header says.
func TestForgedPrincipal(t *testing.T) {
	d := startDoor(t, RemoteLimits{})
	way, err := client.NewTCP(d.address, d.join("wall", trust.Viewer))
	if err != nil {
		t.Fatal(err)
	}
	r := dialRawBy(t, way.Endpoint)
	r.greet()
	for _, forged := range []string{"uid:0", "admin:laptop"} {
		for _, m := range []proto.Message{&wire.InspectMachine{Name: "web"}, &wire.StopMachine{Request: asked(), Name: "web"}} {
			b := batch(wire.Supervisor, m)
			b.Envelopes[0].MessageHeader = &remote.MessageHeader{HeaderData: map[string]string{HeaderPrincipal: forged}}
			r.send(batchOf(b))
			answer, err := r.reply()
			if err != nil {
				t.Fatal(err)
			}
			switch a := answer.(type) {
			case *wire.Machine:
				if a.GetDesired() != "viewer:wall" {
					t.Errorf("with the header %s the principal is %s", forged, a.GetDesired())
				}
			case *wire.Refused:
				if _, asks := m.(*wire.StopMachine); !asks || a.GetCode() != wire.Code_CODE_UNSAFE {
					t.Errorf("with the header %s, %T: %v", forged, m, a)
				}
			default:
				t.Errorf("with the header %s, %T was answered with %v", forged, m, a)
			}
		}
	}
}

// TestJoinsAreLimited: whoever tries tokens is soon not answered, and an honest
// client is.
func TestJoinsAreLimited(t *testing.T) {
	d := startDoor(t, RemoteLimits{Joins: 3})
	honest, token := d.join("laptop", trust.Admin), d.token("late", trust.Admin)
	for range 3 {
		_, _, err := client.Join(t.Context(), wire.Token{Address: d.address, Pin: d.trust.Pin(), Secret: "x"})
		if err == nil {
			t.Fatal("joined")
		}
	}
	if _, _, err := client.Join(t.Context(), token); err == nil {
		t.Error("joined past the limit")
	}
	if _, err := d.ask(honest, &wire.ListMachines{}); err != nil {
		t.Error(err)
	}
}

func identityOf(t *testing.T, raw []byte, key *ecdsa.PrivateKey) client.Identity {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return client.Identity{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// TestKeysAreLent: over TCP an admin gets a machine's keys, and a name is never a path.
func TestKeysAreLent(t *testing.T) {
	d := startDoor(t, RemoteLimits{})
	id := d.join("laptop", trust.Admin)
	for name, want := range map[string]wire.Code{
		"web": wire.Code_CODE_UNSPECIFIED, "db": wire.Code_CODE_CONFLICT, "": wire.Code_CODE_BAD_INPUT, "../web": wire.Code_CODE_BAD_INPUT, "a/b": wire.Code_CODE_BAD_INPUT, "web.arcbox": wire.Code_CODE_BAD_INPUT,
	} {
		got, err := d.ask(id, &wire.LendKeys{Request: asked(), Name: name})
		keys, lent := got.(*wire.LoginKeys)
		if lent && (want != wire.Code_CODE_UNSPECIFIED || string(keys.GetLogin()) != "key") {
			t.Errorf("%q: lent %v", name, keys)
		}
		if refused, ok := errors.AsType[*client.RefusedError](err); !lent && (!ok || refused.Code != want) {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}
