package hosts

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
)

// A machine's keys lie in a directory of the machine's: who it is, who may log
// in, and what OpenSSH's client needs to believe the first.
const (
	keyDir         = "ssh"
	keyHost        = "host_ed25519"
	keyUser        = "id_ed25519"
	keyUserPublic  = "id_ed25519.pub"
	keyKnownHosts  = "known_hosts"
	keyLinkSuffix  = ".arcbox"
	keyHostAlias   = "arcbox" // the name in known_hosts: a machine's own name may be another's tomorrow
	keyMaxFile     = 16 << 10
	secretHost     = "ssh-host-key"
	secretLogin    = "ssh-authorized-key"
	keyNewSuffix   = ".new"
	keyUserComment = "arcbox"
)

// sshSecrets are a machine's keys as its guest gets them. They are made once;
// a machine keeps them until it is removed.
func (w *World) sshSecrets(ref actors.Ref) ([]boot.Secret, error) {
	p := w.place(ref)
	dir := filepath.Join(p.Dir, keyDir)
	secrets, err := readKeys(dir)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			w.Logger.Warn("ssh keys are made anew", "machine", ref.Name, "err", err)
		}
		if err = makeKeys(dir); err == nil {
			secrets, err = readKeys(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	return secrets, w.linkKeys(ref, dir)
}

// readKeys reads them, and makes sure that they are keys: nothing of them is
// synced when it is made.
func readKeys(dir string) ([]boot.Secret, error) {
	host, err := readKey(dir, keyHost)
	if err != nil {
		return nil, err
	}
	if _, err := ssh.ParsePrivateKey(host); err != nil {
		return nil, fmt.Errorf("%s: %w", keyHost, err)
	}
	user, err := readKey(dir, keyUser)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(user)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyUser, err)
	}
	if known, err := readKey(dir, keyKnownHosts); err != nil || len(known) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: %d bytes", keyKnownHosts, len(known)), err)
	}
	return []boot.Secret{
		{Name: secretHost, Data: host},
		{Name: secretLogin, Data: ssh.MarshalAuthorizedKey(signer.PublicKey())},
	}, nil
}

func readKey(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read-only
	return io.ReadAll(io.LimitReader(f, keyMaxFile))
}

// makeKeys makes them: all, or none.
func makeKeys(dir string) error {
	fresh := dir + keyNewSuffix
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	host, hostPublic, err := newKey("")
	if err != nil {
		return err
	}
	user, userPublic, err := newKey(keyUserComment)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		keyHost: host, keyUser: user, keyUserPublic: userPublic + " " + keyUserComment + "\n",
		keyKnownHosts: keyHostAlias + " " + hostPublic + "\n",
	} {
		if err := os.WriteFile(filepath.Join(fresh, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.Rename(fresh, dir)
}

// newKey makes a key pair: the private one as OpenSSH's files have it, the
// public one as its lines do.
func newKey(comment string) (private, public string, err error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return "", "", err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), nil
}

// keyLink is where the keys of a machine are found by its name.
func (w *World) keyLink(ref actors.Ref) string {
	return filepath.Join(w.SSH, strings.ToLower(ref.Name)+keyLinkSuffix)
}

// LoginKeys are what a client of another host needs to log in to the machine of a
// name, found by the link in dir; the error is os.ErrNotExist where it has none.
func LoginKeys(dir, name string) (login, known []byte, err error) {
	dir = filepath.Join(dir, strings.ToLower(name)+keyLinkSuffix)
	if login, err = readKey(dir, keyUser); err == nil {
		known, err = readKey(dir, keyKnownHosts)
	}
	return login, known, err
}

// linkKeys lets a client's configuration name the keys of every machine at
// once. An older machine of that name may have left its own link, and this one that
// of an older name.
func (w *World) linkKeys(ref actors.Ref, dir string) error {
	if w.SSH == "" {
		return nil
	}
	w.linking.Lock()
	defer w.linking.Unlock()
	if err := os.MkdirAll(w.SSH, 0o700); err != nil {
		return err
	}
	link := w.keyLink(ref)
	if to, err := os.Readlink(link); err == nil && to == dir {
		return nil
	}
	if err := w.dropLinks(dir); err != nil {
		return err
	}
	fresh := link + keyNewSuffix
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(dir, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}

// dropLinks takes the links away by which a directory of keys is found, whatever
// name they have. w.linking is held.
func (w *World) dropLinks(dir string) error {
	entries, err := os.ReadDir(w.SSH)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		link := filepath.Join(w.SSH, e.Name())
		if to, readErr := os.Readlink(link); readErr == nil && to == dir {
			err = errors.Join(err, os.Remove(link))
		}
	}
	return err
}

// unlinkKeys takes a removed machine's links away. One that stays leads nowhere.
func (w *World) unlinkKeys(ref actors.Ref) {
	if w.SSH == "" {
		return
	}
	w.linking.Lock()
	defer w.linking.Unlock()
	if err := w.dropLinks(filepath.Join(w.place(ref).Dir, keyDir)); err != nil {
		w.Logger.Warn("ssh keys' link", "machine", ref.Name, "err", err)
	}
}
