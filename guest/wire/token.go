package wire

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ReadToken reads the file that has a launch's token, on the host.
func ReadToken(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	defer func() { _ = f.Close() }()
	token, err := io.ReadAll(io.LimitReader(f, TokenSize+1))
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if len(token) != TokenSize {
		return nil, fmt.Errorf("token file %s: has not %d bytes", path, TokenSize)
	}
	return token, nil
}
