package netd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/arcboxlabs/arcbox-engine/hv/network"
	"github.com/arcboxlabs/arcbox-engine/hv/network/api"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	vmapi "github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// Exit statuses of the process.
const (
	ExitEnded   = 0 // it had nothing to do, or was asked to end
	ExitFailed  = 1
	ExitRefused = 2 // the configuration or the lock was refused; nothing was touched
)

const (
	maxOutput = 256 << 10              // bytes printed on standard error
	idleTime  = 5 * time.Second        // without a machine
	lastTime  = 200 * time.Millisecond // without a machine and an engine
	aloneTime = time.Minute            // without an engine and a hypervisor
)

// Config is what the command wires in.
type Config struct {
	Version string // of arcbox-netd
}

// Run is the life of the network process. The result is the status for os.Exit,
// which must follow at once: the lock frees with the process.
func Run(ctx context.Context, cfg Config) int {
	logrus.SetOutput(io.Discard) // of gvisor-tap-vsock
	log := slog.New(slog.NewTextHandler(process.Capped(os.Stderr, maxOutput), nil))
	if err := process.Begin(); err != nil {
		log.Error("no network", "err", err)
		return ExitRefused
	}
	c, err := process.Input(os.Stdin, api.DecodeConfig)
	if err != nil {
		log.Error("no network", "err", err)
		return ExitRefused
	}
	lock, err := process.InheritLock(filepath.Join(c.Dir, vmapi.LockFile))
	if err != nil {
		log.Error("no network", "err", err)
		return ExitRefused
	}
	defer runtime.KeepAlive(lock) // a finalizer would close it
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, cfg, c, log); err != nil {
		log.Error("the network ends", "err", err)
		return ExitFailed
	}
	return ExitEnded
}

// serve runs the network until ctx is over or nothing is to be done.
func serve(ctx context.Context, cfg Config, c api.Config, log *slog.Logger) error {
	d, err := newDaemon(cfg.Version, log, network.Options{Log: log})
	if err != nil {
		return err
	}
	defer d.close()
	l, err := process.Listen(c.RunDir, vmapi.HostSocket)
	if err != nil {
		return err
	}
	log.Info("the network serves", "version", cfg.Version, "pid", os.Getpid())
	go func() {
		select {
		case <-ctx.Done():
		case <-d.idle:
			log.Info("nothing to do")
		}
		_ = l.Close() // removes the socket: whoever comes now finds that nobody is here
	}()
	process.Accept(l.AcceptUnix, func(c *net.UnixConn) {
		if err := process.Admitted(c); err != nil {
			log.Warn("somebody was turned away", "err", err)
			_ = c.Close()
			return
		}
		s := d.newSession(c)
		go func() {
			if err := s.serve(); err != nil {
				log.Info("session", "err", err)
			}
		}()
	})
	return nil
}
