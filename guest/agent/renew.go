package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// randomSeed is what systemd keeps for its next boot.
const randomSeed = "var/lib/systemd/random-seed"

// sshKeys are the keys by which the image's own sshd is known, and how each kind is
// made. One of another kind is only taken away: that of RSA would keep a boot without
// hardware virtualization waiting for many seconds, and no client needs it.
var sshKeys = map[string]func() (crypto.Signer, error){
	"etc/ssh/ssh_host_ed25519_key": func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	},
	"etc/ssh/ssh_host_ecdsa_key": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
}

// renew takes away what no two machines must have in common and the machine wrote
// itself before its disk was copied, and makes what would not come back by itself.
func (i identity) renew() error {
	var errs []error
	for _, pattern := range []string{randomSeed, "etc/ssh/ssh_host_*_key.pub", "etc/ssh/ssh_host_*_key"} {
		paths, err := filepath.Glob(filepath.Join(i.upper, pattern))
		errs = append(errs, err)
		for _, path := range paths {
			rel, err := filepath.Rel(i.upper, path)
			if err == nil {
				err = i.renewFile(rel)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// renewFile takes a file away. A key that is made anew takes the place of the old one,
// so that one that could not be made is made at the next boot.
func (i identity) renewFile(path string) error {
	full := filepath.Join(i.root, path)
	if _, err := os.Lstat(full); errors.Is(err, fs.ErrNotExist) {
		return nil // the image had it, and the machine removed it
	}
	generate := sshKeys[path]
	if generate == nil {
		return os.Remove(full)
	}
	key, err := generate()
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	comment := "root@" + i.name
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " " + comment + "\n"
	return errors.Join(i.put(path, string(pem.EncodeToMemory(block)), 0o600), i.put(path+".pub", public, 0o644))
}
