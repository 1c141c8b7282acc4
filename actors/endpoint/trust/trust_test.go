package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func newKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func open(t *testing.T, path string, now func() time.Time) *Store {
	t.Helper()
	s, err := Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func invite(t *testing.T, s *Store, name string) string {
	t.Helper()
	secret, _, err := s.Invite(name, Admin, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestOnceOverAnyEnd: whatever ends the process, the file is what it was before
// or after; both are tried here, by opening what is on the disk anew each time.
func TestOnceOverAnyEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	s := open(t, path, time.Now)
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a file before anybody was invited")
	}
	secret := invite(t, s, "laptop")
	pin := s.Pin()
	s = open(t, path, time.Now)
	if s.Pin() != pin {
		t.Error("the engine has another authority after its restart")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	// The disk does not take it: no certificate, and the invitation stands.
	gone := path + ".d"
	lost := open(t, path, time.Now)
	lost.path = filepath.Join(gone, "x")
	if _, _, err := lost.Join(secret, newKey(t)); err == nil {
		t.Fatal("joined without a disk")
	}
	c, certificate, err := s.Join(secret, newKey(t))
	if err != nil || len(certificate) == 0 || c.Principal() != "admin:laptop" {
		t.Fatalf("%v, %v", c, err)
	}
	for name, s := range map[string]*Store{"the same": s, "the next": open(t, path, time.Now)} {
		if _, _, err := s.Join(secret, newKey(t)); !errors.Is(err, ErrToken) {
			t.Errorf("%s engine took the token twice: %v", name, err)
		}
	}
	if err := s.Revoke("LAPTOP"); err != nil {
		t.Fatal(err)
	}
	if left := open(t, path, time.Now).Clients(); len(left) != 0 {
		t.Errorf("after a revocation there are %v", left)
	}
}

func TestOneOfManyJoins(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "c"), time.Now)
	secret := invite(t, s, "laptop")
	var wg sync.WaitGroup
	won := make(chan struct{}, 16)
	for range cap(won) {
		key := newKey(t)
		wg.Go(func() {
			if _, _, err := s.Join(secret, key); err == nil {
				won <- struct{}{}
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d joined with one token", len(won))
	}
}

func TestRefusals(t *testing.T) {
	now := time.Now()
	s := open(t, filepath.Join(t.TempDir(), "c"), func() time.Time { return now })
	for _, c := range []struct {
		name, role string
		life       time.Duration
		want       error
	}{
		{"", Admin, time.Hour, ErrBad}, {"a/b", Admin, time.Hour, ErrBad}, {"-a", Admin, time.Hour, ErrBad}, {"a\nb", Viewer, time.Hour, ErrBad},
		{"a", "owner", time.Hour, ErrBad}, {"a", "", time.Hour, ErrBad}, {"a", Admin, 0, ErrBad}, {"a", Admin, MaxLife + 1, ErrBad},
		{"a", Admin, time.Hour, nil}, {"A", Viewer, time.Hour, ErrTaken},
	} {
		if _, _, err := s.Invite(c.name, c.role, c.life); !errors.Is(err, c.want) {
			t.Errorf("invite %q as %q for %s: %v, want %v", c.name, c.role, c.life, err, c.want)
		}
	}
	if err := s.Revoke("none"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	secret := invite(t, s, "b")
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&weak.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{nil, {1, 2}, der} {
		if _, _, err := s.Join(secret, key); !errors.Is(err, ErrBad) {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
	now = now.Add(time.Hour)
	if _, _, err := s.Join(secret, newKey(t)); !errors.Is(err, ErrToken) {
		t.Errorf("a token that is too old: %v", err)
	}
	invite(t, s, "B") // its name is free again
}

func TestFull(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "c"), time.Now)
	s.state.Clients = make([]Client, maxEntries)
	for i := range s.state.Clients {
		s.state.Clients[i].Expires = time.Now().Add(time.Hour)
	}
	if _, _, err := s.Invite("a", Admin, time.Hour); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, body := range []string{"", "{", `{"version":2}`, `{"version":1}`} {
		path := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, time.Now); err == nil {
			t.Errorf("%q was opened", body)
		}
	}
}
