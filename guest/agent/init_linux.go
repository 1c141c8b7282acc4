package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/agent/early"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// tokenFile is where the initramfs has the launch's token.
const tokenFile = "/arcbox/token"

// The vsock ports that the agent serves on. A program of the guest needs root's
// rights to take the one of SSH in the agent's place.
const (
	Port    = 1024
	SSHPort = 1022
)

// ending is how the machine ends.
type ending struct {
	reboot bool
	grace  time.Duration
}

// machine is process 1 at work, or the agent beside the distribution's init.
type machine struct {
	version string
	args    arguments
	token   []byte
	ssh     sshFiles
	seed    seed
	shares  *shares // nil = there are none
	phases  Phases
	replays bool // the machine's own disk had a log to be replayed
	log     *slog.Logger
	lines   *lateLog
	end     chan ending
	init    distribution  // that became process 1; none = we are
	booted  chan struct{} // closed when that is ready; nil = there is none
}

func newMachine(version string) *machine {
	m := &machine{version: version, lines: &lateLog{}, end: make(chan ending, 1)}
	m.log = slog.New(slog.NewTextHandler(m.lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return m
}

// Init is process 1 of a machine, from the kernel's hand to power off, or until
// the init of the machine's image takes its place. It never returns.
func Init(version string) {
	m := newMachine(version)
	m.phases.Mark("init")
	fmt.Fprintf(os.Stderr, "arcbox-agent %s\n", version)
	m.boot()
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	if !m.args.fault(faultNoAgent) {
		serving.Go(func() { m.serve(ctx) })
	}
	how := m.await()
	m.log.Info("the machine ends", "reboot", how.reboot, "grace", how.grace)
	endProcesses(how.grace, m.log)
	syncAll()
	stop()
	serving.Wait()
	unmountAll(m.log)
	powerOff(how.reboot, m.log)
}

// boot brings the machine to where it can listen. Package early has begun
// long ago, and goes on beside.
func (m *machine) boot() {
	<-early.Mounted()
	m.args = parseArguments(oneLine("/proc/cmdline"))
	m.mount(mounts)
	setUp(m.args.name, m.log)
	var err error
	if m.token, err = takeToken(tokenFile); err != nil {
		m.complain(err)
	}
	if m.ssh, err = takeSSHKeys(); err != nil {
		m.log.Warn("no ssh", "err", err)
	}
	if m.seed, err = takeSeed(seedDir); err != nil {
		m.log.Warn("no user-data", "err", err)
	}
	if list, err := takeShares(sharesFile); err != nil {
		m.log.Warn("no shares", "err", err)
	} else if len(list) > 0 {
		m.shares = newShares(list)
	}
	if m.args.root {
		m.finish()
		m.enter()
	} else {
		m.mount(rescueMounts)
		go func() {
			m.finish()
			m.mountShares()
		}()
	}
	setUpFiles(m.args, m.log)
	m.phases.Mark("mounts")
}

func (m *machine) mount(list []early.Mount) {
	for _, mount := range list {
		if err := mount.Do(); err != nil {
			m.log.Warn("mount", "on", mount.On, "kind", mount.Kind, "err", err)
		}
	}
}

// enter makes the image and the data disk this machine's root, and hands over to
// the image's init. It returns where there is none. Without its root a machine is
// not what it should be: it ends, and the console says why.
func (m *machine) enter() {
	err := m.enterRoot()
	if err == nil {
		if m.args.modules {
			if err := mountModules("/"); err != nil {
				m.log.Warn("set up", "what", "modules", "err", err)
			}
		}
		mountOwn("/", keptData, m.log)
		m.identify()
		var ok bool
		if m.init, ok = findInit("/"); !ok {
			m.log.Info("the image has no init")
			m.mountShares()
			return
		}
		err = m.handOver()
	}
	m.log.Error("no root", "err", err)
	fmt.Fprintf(os.Stderr, "arcbox-agent: the machine's root: %v\n", err)
	powerOff(true, m.log)
}

// identify writes who the machine is into its root.
func (m *machine) identify() {
	who := identity{root: "/", upper: filepath.Join(keptData, upperDir), given: filepath.Join(keptData, givenFile), name: m.args.name, id: m.args.id, zone: m.args.zone, of: m.args.of}
	if m.args.net.domain != "" {
		who.resolv = m.args.net.resolver()
		if err := m.args.net.tellResolved(); err != nil {
			m.log.Warn("set up", "what", "name server", "err", err)
		}
	}
	if err := who.write(); err != nil {
		m.log.Warn("set up", "err", err)
	}
	if err := m.seed.write("/"); err != nil {
		m.log.Warn("set up", "what", "user-data", "err", err)
	}
	if name := oneLine("/etc/hostname"); hostName.MatchString(name) {
		if err := unix.Sethostname([]byte(name)); err != nil {
			m.log.Warn("set up", "what", "host name", "err", err)
		}
	}
}

// finish is for when all devices are there.
func (m *machine) finish() {
	for _, r := range early.Results() {
		if r.Err != nil {
			m.log.Warn("early boot", "step", r.Path, "err", r.Err)
		} else {
			m.log.Debug("early boot", "step", r.Path, "took", r.Took.Round(100*time.Microsecond))
		}
	}
	m.phases.Mark("modules")
	m.network()
	m.lines.open(m.args.log)
	m.watchButton()
}

func (m *machine) mountShares() {
	if m.shares != nil {
		m.shares.mountAll(m.log)
		m.phases.Mark("shares")
	}
}

func (m *machine) watchButton() {
	watchPowerButton(func() {
		m.log.Info("power button")
		m.shutdown(defaultGrace)
	}, m.log)
}

// serve runs the services. Without them the machine goes on: its console
// says why nobody answers.
func (m *machine) serve(ctx context.Context) {
	a, err := New(Options{
		Version: m.version, Token: m.token, Log: m.log, Phases: &m.phases,
		Admit: fromHost, CID: ownCID, PowerOff: m.shutdown, Orphans: m.init.path == "",
		Init: m.init.path, Booted: m.booted, Replayed: m.replays, Shares: m.shares,
	})
	if err != nil {
		m.complain(err)
		return
	}
	if m.init.path == "" {
		<-early.CanListen()
	}
	// Any CID: the guest's own can't be read until the device is there.
	l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, Port, nil)
	if err != nil {
		m.complain(err)
		return
	}
	m.phases.Mark("listening")
	m.log.Info("listening", "port", Port, "version", m.version, "phases", m.phases.all())
	var ssh sync.WaitGroup
	ssh.Go(func() {
		if err := serveSSH(ctx, a, m.ssh); err != nil {
			m.log.Warn("no ssh", "err", err)
		}
	})
	if err := a.Serve(ctx, l); err != nil {
		m.complain(err)
	}
	ssh.Wait()
}

// complain goes to the console too, whose tail is what a failed start shows.
func (m *machine) complain(err error) {
	m.log.Error("agent does not serve", "err", err)
	fmt.Fprintf(os.Stderr, "arcbox-agent: does not serve: %v\n", err)
}

// shutdown is what the engine and the power button ask for.
func (m *machine) shutdown(grace time.Duration) {
	if m.args.fault(faultIgnoreShutdown) {
		m.log.Info("shutdown ignored, as arcbox.test asks")
		return
	}
	if m.init.path != "" {
		m.log.Info("asking the init to shut down", "path", m.init.path, "kind", m.init.kind)
		if err := m.init.powerOff(); err != nil {
			m.log.Error("shutdown", "init", m.init.path, "err", err)
		}
		return
	}
	select {
	case m.end <- ending{grace: grace}:
	default: // one is under way
	}
}

// await waits until somebody ends the machine.
func (m *machine) await() ending {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPWR)
	select {
	case how := <-m.end:
		return how
	case sig := <-signals:
		return ending{reboot: sig == unix.SIGTERM || sig == unix.SIGINT, grace: defaultGrace}
	}
}

// takeToken reads the token and removes it, so that no program of the guest
// can read it.
func takeToken(path string) ([]byte, error) {
	token, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if len(token) != wire.TokenSize {
		return nil, fmt.Errorf("token %s: %d bytes, not %d", path, len(token), wire.TokenSize)
	}
	return token, nil
}

// fromHost admits the host only; a program of the guest could connect too.
func fromHost(c net.Conn) error {
	if addr, ok := c.RemoteAddr().(*vsock.Addr); !ok || addr.ContextID != vsock.Host {
		return fmt.Errorf("%w: %v", errPeer, c.RemoteAddr())
	}
	return nil
}

func ownCID() uint32 {
	cid, err := vsock.ContextID()
	if err != nil {
		return 0
	}
	return cid
}
