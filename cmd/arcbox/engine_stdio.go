package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// newEngineStdio is what an arcbox of another host runs here by ssh.
func newEngineStdio(a *app) *cobra.Command {
	var tickets bool
	cmd := &cobra.Command{
		Use:   "dial-stdio",
		Short: "Join standard input and output to this host's engine",
		Long: "Join standard input and output to the socket of this host's engine, which is started\n" +
			"where none runs. It is what arcbox runs by ssh for a context of the form ssh://…:\n" +
			"who can log in as this user can do what this user can.",
		Hidden: true,
		Args:   noArgs,
	}
	cmd.Flags().BoolVar(&tickets, "tickets", false, "join the socket for byte streams instead")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		h, err := a.home()
		if err != nil {
			return err
		}
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		e.Close()
		path := h.Socket()
		if tickets {
			path = h.Tickets()
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return fmt.Errorf("engine dial-stdio: %w", err)
		}
		return a.stdio(ctx, conn.(*net.UnixConn))
	})
	return cmd
}

// stdio joins the streams to the connection until the engine has said all, or
// nobody reads it any more.
func (a *app) stdio(ctx context.Context, conn *net.UnixConn) error {
	if _, err := io.WriteString(a.stdout, stdioHello); err != nil {
		return errors.Join(fmt.Errorf("engine dial-stdio: %w", err), conn.Close())
	}
	if out, isFile := a.stdout.(*os.File); isFile {
		// Who only waits for the engine's word would never find out.
		go func() {
			awaitHangup(int(out.Fd()))
			_ = conn.Close()
		}()
	}
	err := a.carry(ctx, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil // nobody reads
	}
	return err
}

// awaitHangup returns when the other end of a pipe or a socket is gone.
func awaitHangup(fd int) {
	for {
		look := []unix.PollFd{{Fd: int32(fd)}} //nolint:gosec // a descriptor
		_, err := unix.Poll(look, -1)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
