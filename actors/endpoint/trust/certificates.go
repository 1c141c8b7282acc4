package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// pair is a certificate and its key, as PEM.
type pair struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// fresh makes an authority and the engine's own certificate.
func (s *Store) fresh() (state, error) {
	ca, caKey, err := s.certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "arcbox engine authority"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return state{}, err
	}
	own, ownKey, err := s.certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: wire.ServerName}, DNSNames: []string{wire.ServerName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	if err != nil {
		return state{}, err
	}
	out := state{Version: version}
	if out.CA, err = pairOf(ca.Raw, caKey); err == nil {
		out.Server, err = pairOf(own.Raw, ownKey)
	}
	return out, err
}

// certificate makes a key and signs for it; without a parent by itself.
func (s *Store) certificate(t, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = t, key
	}
	raw, err := s.signed(t, parent, &key.PublicKey, signer, ownLife)
	if err != nil {
		return nil, nil, err
	}
	c, err := x509.ParseCertificate(raw)
	return c, key, err
}

func (s *Store) signed(t, parent *x509.Certificate, key *ecdsa.PublicKey, signer any, life time.Duration) (raw []byte, err error) {
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	t.NotBefore, t.NotAfter = s.now().Add(-skew), s.now().Add(life)
	return x509.CreateCertificate(rand.Reader, t, parent, key, signer)
}

// sign makes a client's certificate, as PEM.
func (s *Store) sign(c Client, key *ecdsa.PublicKey) ([]byte, error) {
	ca, err := tls.X509KeyPair([]byte(s.state.CA.Certificate), []byte(s.state.CA.Key))
	if err != nil {
		return nil, err
	}
	raw, err := s.signed(&x509.Certificate{
		Subject: pkix.Name{CommonName: c.Name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, s.ca, key, ca.PrivateKey, clientLife)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), nil
}

// publicKey takes keys on P-256 only.
func publicKey(der []byte) (*ecdsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("a public key that can't be read: %w", err)
	}
	if p, ok := key.(*ecdsa.PublicKey); ok && p.Curve == elliptic.P256() {
		return p, nil
	}
	return nil, errors.New("a public key that is not one of P-256")
}

func pairOf(certificate []byte, key *ecdsa.PrivateKey) (pair, error) {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})),
	}, nil
}

// load makes ready what each handshake needs.
func (s *Store) load() (err error) {
	ca, err := tls.X509KeyPair([]byte(s.state.CA.Certificate), []byte(s.state.CA.Key))
	if err != nil {
		return err
	}
	s.ca = ca.Leaf
	if s.server, err = tls.X509KeyPair([]byte(s.state.Server.Certificate), []byte(s.state.Server.Key)); err != nil {
		return err
	}
	s.server.Certificate = append(s.server.Certificate, s.ca.Raw) // who joins learns it from here, by its pin
	return nil
}

// Config is the engine's side of TLS: 1.3, no resumption, and a certificate of
// ours from everybody but who joins.
func (s *Store) Config() *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{s.server}, SessionTicketsDisabled: true, Time: s.now,
		NextProtos: []string{wire.SpeakEngine, wire.SpeakStream}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(),
		VerifyConnection: func(c tls.ConnectionState) error {
			if c.NegotiatedProtocol == "" {
				return errors.New("the client says not what it speaks")
			}
			_, err := s.Who(c.PeerCertificates[0])
			return err
		},
	}
	base.ClientCAs.AddCert(s.ca)
	join := base.Clone()
	join.NextProtos, join.ClientAuth, join.VerifyConnection = []string{wire.SpeakJoin}, tls.NoClientCert, nil
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == wire.SpeakJoin {
			return join, nil
		}
		return base, nil
	}
	return base
}
