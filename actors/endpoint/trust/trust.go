package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Roles of clients of other hosts.
const (
	Admin  = "admin"
	Viewer = "viewer"
)

// Bounds.
const (
	MaxLife    = 7 * 24 * time.Hour   // of an invitation
	clientLife = 365 * 24 * time.Hour // of a certificate
	ownLife    = 20 * 365 * 24 * time.Hour
	maxEntries = 256
	maxFile    = 1 << 20
	version    = 1
	skew       = 5 * time.Minute // clocks of two hosts differ
)

// Errors that tell one refusal from another.
var (
	ErrUnknown = errors.New("there is no client and no invitation of that name")
	ErrTaken   = errors.New("there is a client or an invitation of that name already")
	ErrToken   = errors.New("the token is unknown, used, revoked or too old: ask for a new one (arcbox engine invite)")
	ErrFull    = errors.New("there are too many clients and invitations: revoke some")
	ErrBad     = errors.New("bad input")
	ErrRevoked = errors.New("the client is unknown or revoked")
)

// Client is who may connect, or, where it is Invited, who may join.
type Client struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Invited bool      `json:"invited,omitempty"`
	Digest  string    `json:"digest"` // of its public key, or of the invitation's secret
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
}

// Principal is who it is in records: role and name.
func (c Client) Principal() string { return c.Role + ":" + c.Name }

type state struct {
	Version int      `json:"version"`
	CA      pair     `json:"ca"`
	Server  pair     `json:"server"`
	Clients []Client `json:"clients"`
}

// Store is the file, and what follows from it. Its methods may be called at once.
type Store struct {
	path string
	now  func() time.Time

	mu     sync.Mutex
	state  state
	ca     *x509.Certificate
	server tls.Certificate
}

// Open reads the file, where there is one. The caller is the only
// process that has it open.
func Open(path string, now func() time.Time) (*Store, error) {
	s := &Store{path: path, now: now}
	data, err := files.Read(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.state, err = s.fresh() // written with the first invitation: most engines never have one
	case err == nil:
		err = json.Unmarshal(data, &s.state)
	}
	if err == nil && s.state.Version != version {
		err = fmt.Errorf("version %d, this engine knows %d", s.state.Version, version)
	}
	if err == nil {
		err = s.load()
	}
	if err != nil {
		return nil, fmt.Errorf("clients of other hosts: %s: %w", path, err)
	}
	return s, nil
}

func (s *Store) write(next state) error {
	data, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	return files.Replace(s.path, data, 0o600)
}

// change replaces the clients on disk, then here.
func (s *Store) change(clients []Client) error {
	next := s.state
	next.Clients = clients
	if err := s.write(next); err != nil {
		return fmt.Errorf("clients of other hosts: %s: %w", filepath.Base(s.path), err)
	}
	s.state = next
	return nil
}

// alive is those whose time is not over.
func (s *Store) alive() []Client {
	now := s.now()
	return slices.DeleteFunc(slices.Clone(s.state.Clients), func(c Client) bool { return !now.Before(c.Expires) })
}

// Clients lists who may connect or join.
func (s *Store) Clients() []Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alive()
}

// Pin is the digest of the authority's certificate, by which a client that
// joins knows this engine.
func (s *Store) Pin() string { return digest(s.ca.Raw) }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// Invite makes an invitation and gives its secret, which is not kept.
func (s *Store) Invite(name, role string, life time.Duration) (secret string, expires time.Time, err error) {
	switch {
	case !nameForm.MatchString(name):
		return "", time.Time{}, fmt.Errorf("%w: name %.80q: 1 to 63 letters, digits and hyphens, with a letter or digit at both ends", ErrBad, name)
	case role != Admin && role != Viewer:
		return "", time.Time{}, fmt.Errorf("%w: role %.80q: %s or %s", ErrBad, role, Admin, Viewer)
	case life <= 0 || life > MaxLife:
		return "", time.Time{}, fmt.Errorf("%w: an invitation of %s: more than nothing, at most %s", ErrBad, life, MaxLife)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := s.alive()
	switch {
	case slices.ContainsFunc(clients, func(c Client) bool { return strings.EqualFold(c.Name, name) }):
		return "", time.Time{}, ErrTaken
	case len(clients) >= maxEntries:
		return "", time.Time{}, ErrFull
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	c := Client{Name: name, Role: role, Invited: true, Digest: digest(raw[:]), Since: s.now(), Expires: s.now().Add(life)}
	if err := s.change(append(clients, c)); err != nil {
		return "", time.Time{}, err
	}
	return hex.EncodeToString(raw[:]), c.Expires, nil
}

// Join turns an invitation into a client with that key, once: it is on disk that
// the invitation is gone before the certificate is there.
func (s *Store) Join(secret string, key []byte) (Client, []byte, error) {
	raw, err := hex.DecodeString(secret)
	if err != nil || len(raw) != 32 {
		return Client{}, nil, ErrToken
	}
	public, err := publicKey(key)
	if err != nil {
		return Client{}, nil, fmt.Errorf("%w: %w", ErrBad, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := s.alive()
	at := slices.IndexFunc(clients, func(c Client) bool { return c.Invited && c.Digest == digest(raw) })
	if at < 0 {
		return Client{}, nil, ErrToken
	}
	c := clients[at]
	c.Invited, c.Digest, c.Since, c.Expires = false, digest(key), s.now(), s.now().Add(clientLife)
	certificate, err := s.sign(c, public)
	if err != nil {
		return Client{}, nil, fmt.Errorf("sign a client's certificate: %w", err)
	}
	clients[at] = c
	if err := s.change(clients); err != nil {
		return Client{}, nil, err
	}
	return c, certificate, nil
}

// Revoke takes a client or an invitation out.
func (s *Store) Revoke(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := s.alive()
	rest := slices.DeleteFunc(slices.Clone(clients), func(c Client) bool { return strings.EqualFold(c.Name, name) })
	if len(rest) == len(clients) {
		return ErrUnknown
	}
	return s.change(rest)
}

// Who is the client with this certificate, whose signature has been checked.
func (s *Store) Who(certificate *x509.Certificate) (Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := digest(certificate.RawSubjectPublicKeyInfo)
	for _, c := range s.alive() {
		if !c.Invited && c.Digest == key {
			return c, nil
		}
	}
	return Client{}, ErrRevoked
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
