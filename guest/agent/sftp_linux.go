package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pkg/sftp"
)

// SFTPServer is the argument with which this program serves SFTP on its
// standard streams. It is a process of its own, so that files are opened by the
// user who logged in, and a fault in it ends nothing else.
const SFTPServer = "sftp-server"

// selfPath is this program, wherever its file has gone.
const selfPath = "/proc/self/exe"

// SFTP serves until standard input ends.
func SFTP() error {
	home, err := os.Getwd()
	if err != nil {
		home = "/"
	}
	s, err := sftp.NewServer(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}, sftp.WithServerWorkingDirectory(home))
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	if err := s.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("sftp: %w", err)
	}
	return nil
}
