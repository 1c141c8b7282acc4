package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/endpoint"
	"github.com/arcboxlabs/arcbox-engine/actors/hosts"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// endTime bounds the orderly end of the engine.
const endTime = 5 * time.Second

// settings are how an engine runs.
type settings struct {
	allowSim bool
	debug    bool
	listen   string // for clients of other hosts; "" = not at all
	// work is what the engine does once it is there: serve, or one thing.
	work func(ctx context.Context, h home.Home, engine *actors.Engine, tickets *endpoint.Tickets, s settings, log *slog.Logger) error
}

// serve runs the engine until its work is done, ctx is over, or a person asks it to end.
func serve(ctx context.Context, h home.Home, s settings) (err error) {
	defer func() { err = explain(h, err) }()
	log := newLog(s.debug)
	if err := checkOwner(h.Data); err != nil {
		return err
	}
	for _, dir := range []string{h.Data, h.Run, h.Machines()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	lock, err := lockHome(h, "arcbox engine status")
	if err != nil && handOver(h.Lock(), log) {
		lock, err = lockHome(h, "arcbox engine status")
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	j, err := openJournal(ctx, h.Journal(), journal.Options{Log: log, Fatal: fatal(h, log)})
	if err != nil {
		return err
	}
	defer func() {
		if err := j.Close(); err != nil {
			log.Error("close journal", "err", err)
		}
	}()
	return serveJournal(ctx, h, j, s, log)
}

// serveJournal runs the actors and what they are there for.
func serveJournal(ctx context.Context, h home.Home, j *journal.Journal, s settings, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tickets := endpoint.NewTickets(endpoint.TicketOptions{Log: log})
	images, err := image.Open(h.Images())
	if err != nil {
		return err
	}
	world := hosts.New(hosts.Options{
		Machines: h.Machines(), Stages: h.Stages(), Run: h.Run, SSH: h.SSH(), Owners: h.Owners(), VMHost: besides("arcbox-vmhost"), Netd: besides("arcbox-netd"),
		QEMU: os.Getenv("ARCBOX_QEMU"), Boot: h.BootDirs(),
		Cache: filepath.Join(h.Data, "accel.json"), Logger: log, Images: images, Zone: hostZone("/etc/localtime"),
		Agent: besides("arcbox-agent"), Kernels: kernel.Open(h.Kernels()),
	})
	world.SeeAgents()
	if err := world.SweepStages(); err != nil {
		log.Warn("stages", "err", err)
	}
	news := &networkNews{}
	network := world.NewNetwork(h.Network(), news.said)
	engine, err := actors.Start(actors.Options{
		Journal: j, Clock: realClock{boot: bootID()}, Hosts: world, Guests: world, Dirs: world, Owners: world, Provisions: world, Disks: world,
		Networks: network, FreePort: freePort,
		Tickets: func(principal string, open func(context.Context, *net.UnixConn) error) (string, string) {
			return h.Tickets(), tickets.Issue(open, principal)
		},
		HoldImage: world.HoldImage, Booted: world.Booted, Shares: world.Shares, Grow: world.Grow, Hold: world.Hold, Save: world.Save, CopyDisk: world.CopyDisk, AgentOf: world.AgentOf,
		Limits: actors.Limits{CPUs: runtime.NumCPU(), Memory: hostMemory(), Arch: runtime.GOARCH, Backends: backends}, AllowSim: s.allowSim,
		Version: version, Home: h.Data, Pid: os.Getpid(), Launches: runtime.NumCPU(),
		Stopped: func() { time.AfterFunc(stopPause, cancel) }, Fatal: fatal(h, log), Log: log,
	})
	if err != nil {
		return err
	}
	news.to(engine)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { network.Run(ctx) })
	err = s.work(ctx, h, engine, tickets, s, log)
	return errors.Join(err, engine.Close())
}

// stopPause lets the answer to the request to end reach its client.
const stopPause = 50 * time.Millisecond

func serveSockets(ctx context.Context, h home.Home, engine *actors.Engine, tickets *endpoint.Tickets, s settings, log *slog.Logger) error {
	gateway := endpoint.New(endpoint.Options{System: engine.System(), Log: log})
	lis, ticketLis, err := openSockets(h)
	if err != nil {
		return err
	}
	others, err := openRemote(h, s.listen, engine.System(), gateway, tickets, log)
	if err != nil {
		return errors.Join(err, lis.Close(), ticketLis.Close())
	}
	failed := make(chan error, 3)
	if others.lis != nil {
		go func() { failed <- others.remote.Serve(others.lis) }()
	}
	go func() { failed <- gateway.Serve(lis) }()
	go func() { failed <- tickets.Serve(ticketLis) }()
	log.Info("engine serves", "version", version, "socket", h.Socket(), "pid", os.Getpid())
	notify(log, daemon.SdNotifyReady, "STATUS=version "+version+" serves "+h.Socket())
	go watched(ctx, log, answering(engine.System()))
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	notify(log, daemon.SdNotifyStopping)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	others.remote.Close()
	gateway.Close(end)
	tickets.Close(end)
	log.Info("engine ends")
	return err
}

// openSockets opens the engine's own two, or takes them from the service manager.
func openSockets(h home.Home) (requests, tickets net.Listener, err error) {
	given, err := handedDown()
	if err != nil {
		return nil, nil, err
	}
	if requests, err = given.listen(h.Socket()); err != nil {
		return nil, nil, unserved(h, err)
	}
	if tickets, err = given.listen(h.Tickets()); err != nil {
		return nil, nil, errors.Join(unserved(h, err), requests.Close())
	}
	if err = given.rest(h); err != nil {
		return nil, nil, errors.Join(err, requests.Close(), tickets.Close())
	}
	return requests, tickets, nil
}

// fatal ends the engine at once: what is on disk is the truth, and the next
// engine repairs the rest.
func fatal(h home.Home, log *slog.Logger) func(error) {
	return func(err error) {
		log.Error("the engine can't go on", "err", err.Error())
		if r, ok := errors.AsType[*actors.Refusal](explain(h, err)); ok {
			fmt.Fprintln(os.Stderr, "hint:", r.Hint)
		}
		os.Exit(1)
	}
}

func newLog(debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// hostZone is the name of the time zone that a link stands for; "" where it is
// none that a guest could have.
func hostZone(link string) string {
	to, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	_, name, _ := strings.Cut(to, "zoneinfo/")
	if !zone.MatchString(name) {
		return ""
	}
	return name
}

var zone = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]{0,31}(/[A-Z][A-Za-z0-9_+-]{0,31}){0,2}$`)

// besides is a program of ours beside this binary, else by PATH.
func besides(name string) string {
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
				return path
			}
		}
	}
	// A launch takes a path: it looks for nothing.
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return name // the first launch says that it is missing
}
