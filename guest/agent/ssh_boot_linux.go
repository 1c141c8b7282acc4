package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

// Where the initramfs has what SSH needs; both are deleted once read.
const (
	sshHostFile       = "/arcbox/ssh-host-key"
	sshAuthorizedFile = "/arcbox/ssh-authorized-key"
)

// sshFiles are the files' contents. They are parsed by whoever serves: it costs
// milliseconds that a boot need not wait for.
type sshFiles struct {
	Host       []byte `json:"host"`
	Authorized []byte `json:"authorized"`
}

// takeSSHKeys reads the keys and removes them, as takeToken does.
func takeSSHKeys() (sshFiles, error) {
	host, err := takeFile(sshHostFile)
	authorized, err2 := takeFile(sshAuthorizedFile)
	return sshFiles{host, authorized}, errors.Join(err, err2)
}

func takeFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return b, nil
}

// serveSSH serves until ctx is over.
func serveSSH(ctx context.Context, a *Agent, files sshFiles) error {
	keys, err := ParseSSHKeys(files.Host, files.Authorized)
	if err != nil {
		return err
	}
	l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, SSHPort, nil)
	if err != nil {
		return err
	}
	a.ServeSSH(ctx, l, keys)
	return nil
}
