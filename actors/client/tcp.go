package client

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// joinTime bounds joining; maxJoinReply what is read of the answer.
const (
	joinTime     = 10 * time.Second
	maxJoinReply = 16 << 10
)

// Identity is what a client has from joining, as PEM: the engine's authority, its
// own certificate, and the key, which nobody else has.
type Identity struct {
	CA, Certificate, Key string
}

// TCP is the door of an engine that listens for other hosts.
type TCP struct {
	address string
	config  *tls.Config
}

var _ Door = (*TCP)(nil)

// NewTCP makes a door of an address HOST:PORT.
func NewTCP(address string, id Identity) (*TCP, error) {
	own, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	if err != nil {
		return nil, fmt.Errorf("client: the certificate for %s: %w", address, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(id.CA)) {
		return nil, fmt.Errorf("client: there is no authority for %s", address)
	}
	return &TCP{address, &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: wire.ServerName, Certificates: []tls.Certificate{own},
	}}, nil
}

// String implements Door.
func (d *TCP) String() string { return "tcp://" + d.address }

// Endpoint implements Door.
func (d *TCP) Endpoint(ctx context.Context) (net.Conn, error) {
	conn, err := d.dial(ctx, wire.SpeakEngine)
	if err != nil {
		return nil, err
	}
	return d.greeted(ctx, conn)
}

// Stream implements Door: what the ticket says of a socket is of its host only.
func (d *TCP) Stream(ctx context.Context, _ string) (net.Conn, error) {
	return d.dial(ctx, wire.SpeakStream)
}

func (d *TCP) dial(ctx context.Context, speak string) (net.Conn, error) {
	config := d.config.Clone()
	config.NextProtos = []string{speak}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", d.address)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%s)", ErrNoEngine, d)
	case err != nil:
		return nil, fmt.Errorf("client: connect to %s: %w", d, err)
	}
	return conn, nil
}

// greeted waits until the engine has begun to speak, as gRPC's server does first.
// In TLS 1.3 this side has shaken hands before the engine has looked at its
// certificate: who writes at once may lose the answer to a reset.
func (d *TCP) greeted(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, greeting)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	first := bufio.NewReader(conn)
	_, err := first.Peek(1)
	if !stop() {
		err = fmt.Errorf("%w (%s): %w", ErrMute, d, context.Cause(ctx))
	} else if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" { // crypto/tls has no other name for it
		err = fmt.Errorf("%w: %s: %w", ErrShut, d, alert.Err)
	} else if err != nil { // it is going down, or has too many clients
		err = fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	if err != nil {
		_ = conn.Close() // nothing was said on it
		return nil, err
	}
	return &begun{conn, first}, nil
}

// begun is a connection of which some was read.
type begun struct {
	net.Conn
	first *bufio.Reader
}

// Read implements net.Conn.
func (b *begun) Read(p []byte) (int, error) { return b.first.Read(p) }

// Join makes a key and takes up an invitation. It tells the engine nothing before
// it has shown the certificate that the token names.
func Join(ctx context.Context, t wire.Token) (*wire.JoinReply, Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Identity{}, fmt.Errorf("client: join: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, Identity{}, fmt.Errorf("client: join: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, Identity{}, fmt.Errorf("client: join: %w", err)
	}
	var id Identity
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerName, NextProtos: []string{wire.SpeakJoin},
		InsecureSkipVerify: true, //nolint:gosec // its authority is not known yet, but its digest is: see pinned
		VerifyConnection: func(c tls.ConnectionState) (err error) {
			id.CA, err = pinned(c, t.Pin)
			return err
		},
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, Identity{}, fmt.Errorf("client: join %s: %w", t.Address, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	reply := &wire.JoinReply{}
	if err = json.NewEncoder(conn).Encode(wire.JoinRequest{Secret: t.Secret, Key: public}); err == nil {
		err = json.NewDecoder(io.LimitReader(conn, maxJoinReply)).Decode(reply)
	}
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	if err != nil {
		return nil, Identity{}, fmt.Errorf("client: join %s: %w", t.Address, err)
	}
	id.Certificate, id.Key = reply.Certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return reply, id, nil
}

// pinned is the authority's certificate, where its digest is that of the token and
// the engine's certificate is signed by it.
func pinned(c tls.ConnectionState, pin string) (string, error) {
	for _, ca := range c.PeerCertificates[1:] {
		sum := sha256.Sum256(ca.Raw)
		if hex.EncodeToString(sum[:]) != pin {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: wire.ServerName})
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})), err
	}
	return "", errors.New("it is not the engine that made the token: its certificate is another's")
}
