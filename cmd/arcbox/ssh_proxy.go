package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// newSSHProxy is what ssh runs to get to a machine.
func newSSHProxy(a *app) *cobra.Command {
	var pipe bool
	cmd := &cobra.Command{
		Use:   "ssh-proxy NAME[" + sshSuffix + "]",
		Short: "Connect ssh to a machine",
		Long: "What ssh runs, by the configuration of arcbox ssh-config, to connect to a machine.\n" +
			"It hands ssh the connection (ProxyUseFdpass) and is done; nothing stands between\n" +
			"ssh and the machine then, and the connection survives the engine. With --pipe it\n" +
			"stays, and carries its standard streams, for clients other than OpenSSH's.",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			suffix := sshSuffix
			if p, err := a.choice(); err == nil && p.remote != nil {
				suffix = "." + strings.ToLower(p.name) + sshSuffix
			}
			for i, arg := range args {
				args[i] = strings.TrimSuffix(arg, suffix)
			}
			return named(1, 1)(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&pipe, "pipe", false, "carry the streams, instead of handing the connection over")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		conn, err := a.openSSH(ctx, args[0])
		if err != nil {
			return err
		}
		if pipe {
			return a.carry(ctx, conn)
		}
		defer conn.Close()
		return a.handOver(conn)
	})
	return cmd
}

func (a *app) openSSH(ctx context.Context, name string) (net.Conn, error) {
	e, err := a.engine(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	t, err := ask[*wire.Ticket](ctx, e, &wire.OpenGuest{Request: request(), Name: name, Port: sshPort})
	if err != nil {
		return nil, err
	}
	w, err := a.sshWay()
	if err == nil {
		err = a.borrowKeys(ctx, e, w, name) // before ssh hears of the machine, and looks for them
	}
	if err != nil {
		return nil, err
	}
	return e.Open(ctx, t)
}

// handOver passes the connection to whoever reads standard output, as ssh has
// it: one byte, and the descriptor with it.
func (a *app) handOver(conn net.Conn) error {
	out, isFile := a.stdout.(*os.File)
	unix, isUnix := conn.(*net.UnixConn)
	if !isFile || !isUnix {
		return errNoHandOver(nil)
	}
	f, err := unix.File()
	if err != nil {
		return fmt.Errorf("hand the connection over: %w", err)
	}
	defer f.Close()
	err = syscall.Sendmsg(int(out.Fd()), []byte{0}, syscall.UnixRights(int(f.Fd())), nil, 0)
	if errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.EINVAL) {
		return errNoHandOver(err)
	}
	if err != nil {
		return fmt.Errorf("hand the connection over: %w", err)
	}
	return nil
}

func errNoHandOver(cause error) error {
	return &failure{
		code: exitUsage, kind: "usage", cause: cause, hint: "arcbox ssh-proxy --pipe NAME",
		message: "standard output takes no connection: this is for ssh with ProxyUseFdpass",
	}
}

// carry joins the standard streams to the connection, until the machine has
// said all.
func (a *app) carry(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(conn, a.stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	_, err := io.Copy(a.stdout, conn)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, conn.Close())
}
