package vmhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// host is one VM host. Its life is run; any number of requests go on beside it.
type host struct {
	cfg     Config
	spec    hv.Spec
	lock    *os.File
	driver  hv.Driver
	token   []byte
	log     *slog.Logger
	begun   time.Time
	forks   *forks
	events  *eventLog
	drain   drain         // what is still owed to requesters when the VM has ended
	up      chan struct{} // closed when the VM runs or never will; vm and startErr stand then
	vm      hv.VM
	failed  error
	aborted context.CancelFunc // ends a start in progress
	start   context.Context
	dying   chan struct{} // closed at the first kill
	over    chan struct{} // closed when the VM has ended: only wait still answers
	forced  chan hv.Exit  // an end that the driver did not report in time
	kills   sync.Once
	ending  context.Context // over when a signal asked for its end: no guest is held still or saved any more
	end     context.CancelFunc
	lobby   lobby
	conns   chan struct{} // one token a connection
	streams chan struct{} // one token a connection that lasts
	pourer  pourer
}

func newHost(cfg Config, spec hv.Spec, lock *os.File, log *slog.Logger) *host {
	h := &host{
		cfg: cfg, spec: spec, lock: lock, log: log.With("machine", spec.Machine, "launch", spec.Launch),
		begun: time.Now(), forks: newForks(), events: newEventLog(),
		up: make(chan struct{}), dying: make(chan struct{}), over: make(chan struct{}), forced: make(chan hv.Exit, 1),
		conns: make(chan struct{}, maxConns), streams: make(chan struct{}, maxStreams),
		pourer: newPourer(),
	}
	h.ending, h.end = context.WithCancel(context.Background())
	h.start, h.aborted = context.WithTimeout(context.Background(), startTime)
	return h
}

// run lives from the first socket to the last: VM, exit note, last event.
func (h *host) run(ctx context.Context) int {
	defer h.aborted()
	defer h.end()
	console := newRotated(filepath.Join(h.spec.Dir, api.ConsoleFile), h.spec.Console)
	agentLog := newRotated(filepath.Join(h.spec.Dir, api.AgentLogFile), h.spec.Console)
	defer console.close()
	defer agentLog.close()
	_, _ = fmt.Fprintf(console, "%s%s at %s\n", api.LaunchMark, h.spec.Launch, h.begun.UTC().Format(time.RFC3339))

	listener, err := process.Listen(h.spec.RunDir, api.HostSocket)
	if err == nil {
		go h.serve(ctx, listener)
		err = h.launch(console, agentLog)
	}
	h.failed = err
	close(h.up)
	if err != nil {
		cause := hv.ExitFailed
		switch {
		case h.isDying():
			cause = hv.ExitKilled
		case errors.Is(err, hv.ErrCIDTaken):
			cause = hv.ExitCIDTaken
		}
		h.log.Error("the VM did not start", "err", err)
		h.finish(listener, hv.Exit{Cause: cause, Detail: err.Error(), Time: time.Now()})
		return ExitNoVM
	}
	h.finish(listener, h.follow(ctx))
	return ExitEnded
}

// launch starts the VM.
func (h *host) launch(console, agentLog *rotated) error {
	if err := reserveNote(h.spec.Dir); err != nil {
		return err
	}
	token, err := wire.ReadToken(h.spec.TokenFile)
	if err != nil {
		return err
	}
	h.token = token
	h.vm, err = h.driver.Start(h.start, h.spec, hv.Env{
		Lock: h.lock, Fork: h.forks.start, Console: console, AgentLog: agentLog,
		Logf: func(format string, args ...any) { h.log.Info(api.Clip(fmt.Sprintf(format, args...))) },
	})
	return err
}

// follow passes on what the VM says until it has ended.
func (h *host) follow(ctx context.Context) hv.Exit {
	if h.isDying() { // killed while the driver was starting it
		go h.killVM()
	}
	for {
		select {
		case e, ok := <-h.vm.Events():
			switch {
			case !ok:
				return hv.Exit{Cause: hv.ExitCrashed, Detail: "the driver lost the VM", Time: time.Now()}
			case e.Kind == hv.EventExit && e.Exit != nil:
				return *e.Exit
			case e.Kind != hv.EventExit:
				h.log.Info("event", "kind", e.Kind, "why", api.Clip(e.Why))
				h.events.add(e)
			}
		case exit := <-h.forced:
			return exit
		case <-ctx.Done():
			ctx = context.Background()
			h.beginKill()
		}
	}
}

// finish says how the VM ended: on disk first, then to who waits. The lock is
// still held; it frees with the process.
func (h *host) finish(listener net.Listener, exit hv.Exit) {
	close(h.over)
	exit.Detail = api.Clip(exit.Detail)
	h.log.Info("the VM has ended", "cause", exit.Cause, "status", exit.Status, "detail", exit.Detail)
	note := api.Note{Version: api.NoteVersion, Machine: h.spec.Machine, Launch: h.spec.Launch, Exit: exit}
	if err := writeNote(h.spec.Dir, note); err != nil {
		h.log.Error("the exit note was not written", "err", err)
	}
	h.events.add(hv.Event{Kind: hv.EventExit, Exit: &exit, Time: exit.Time})
	h.drain.wait(drainTime)
	if listener != nil {
		_ = listener.Close() // removes the socket
	}
	_ = os.Remove(filepath.Join(h.spec.RunDir, api.VsockSocket))
}

// obey carries out signals. SIGHUP and SIGPIPE mean nothing here.
func (h *host) obey(signals <-chan os.Signal) {
	asked := false
	for s := range signals {
		if (s == syscall.SIGTERM || s == syscall.SIGINT) && !asked {
			asked = true
			h.end()
			h.log.Info("asked to end", "signal", s.String())
			go h.terminate()
		}
	}
}

// terminate asks the guest to shut down, and kills it when the grace is over.
func (h *host) terminate() {
	grace := time.NewTimer(h.cfg.Grace)
	defer grace.Stop()
	select {
	case <-h.up:
	default: // no guest to ask yet
		h.beginKill()
		return
	}
	if h.failed != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Grace)
	defer cancel()
	if p, ok := h.vm.(hv.Pauser); ok { // a guest that is held still can't shut down
		if err := p.Resume(ctx); err != nil {
			h.log.Warn("resume, so that the guest can shut down", "err", err)
		}
	}
	err := h.vm.PowerButton(ctx)
	if err == nil || !errors.Is(err, hv.ErrUnsupported) {
		<-grace.C
	}
	h.beginKill()
}

func (h *host) isDying() bool {
	select {
	case <-h.dying:
		return true
	default:
		return false
	}
}

// beginKill ends the VM, or its start, whatever the driver does about it.
func (h *host) beginKill() {
	h.kills.Do(func() {
		close(h.dying)
		h.aborted()
		time.AfterFunc(forceTime, func() {
			h.forced <- hv.Exit{Cause: hv.ExitKilled, Status: -1, Detail: "the hypervisor did not say that it ended", Time: time.Now()}
		})
		select {
		case <-h.up:
			go h.killVM()
		default: // follow does it, once there is a VM
		}
	})
}

func (h *host) killVM() {
	if h.vm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forceTime)
	defer cancel()
	if err := h.vm.Kill(ctx); err != nil && !errors.Is(err, hv.ErrGone) {
		h.log.Error("kill failed", "err", err)
	}
}

// drain counts what must reach its reader before the process leaves.
type drain struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // not nil: closed when n gets to 0
}

func (d *drain) enter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
}

func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n--; d.n == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

func (d *drain) wait(limit time.Duration) {
	d.mu.Lock()
	if d.n == 0 {
		d.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	d.idle = idle
	d.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(limit):
	}
}
