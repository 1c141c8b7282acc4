package vmhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// Exit statuses of the process.
const (
	ExitEnded   = 0 // the VM ended; the exit note says how
	ExitNoVM    = 1 // the VM could not be started; so does the exit note
	ExitRefused = 2 // the spec or the lock was refused; nothing was touched
)

const (
	startTime = 2 * time.Minute        // for the driver to start the VM
	graceTime = 20 * time.Second       // from SIGTERM to the kill
	forceTime = 10 * time.Second       // from the kill to leaving without the driver's word
	drainTime = 500 * time.Millisecond // for last words to reach their readers; less than a lock is waited for
	maxOutput = 256 << 10              // bytes printed on standard error
)

// Config is what the command wires in.
type Config struct {
	Drivers []hv.Driver
	Version string        // of arcbox-vmhost, for hello
	Grace   time.Duration // from SIGTERM to the kill; 0 = 20 s
}

// Run is the life of a VM host: it reads the spec from standard input, checks
// the lock at descriptor 3, runs the VM and serves the API until the VM has
// ended. It must be called on the main goroutine. The result is the status for
// os.Exit, which must follow at once: the lock frees with the process.
func Run(ctx context.Context, cfg Config) int {
	log := slog.New(slog.NewTextHandler(process.Capped(os.Stderr, maxOutput), nil))
	h, err := prepare(cfg, log)
	if err != nil {
		log.Error("no VM was started", "err", err)
		return ExitRefused
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	go h.obey(signals)
	code := make(chan int, 1)
	go func() { code <- h.run(ctx) }()
	status := h.forks.serve(code)
	runtime.KeepAlive(h.lock) // a finalizer would close it
	return status
}

// prepare checks all that was handed down. It changes nothing on disk.
func prepare(cfg Config, log *slog.Logger) (*host, error) {
	if !onMainThread() {
		return nil, errors.New("vm host: Run is not on the main thread")
	}
	if err := process.Begin(); err != nil {
		return nil, err
	}
	spec, err := process.Input(os.Stdin, api.DecodeSpec)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	lock, err := process.InheritLock(filepath.Join(spec.Dir, api.LockFile))
	if err != nil {
		return nil, err
	}
	if cfg.Grace <= 0 {
		cfg.Grace = graceTime
	}
	h := newHost(cfg, spec, lock, log)
	for _, d := range cfg.Drivers {
		if d.Name() == spec.Backend {
			h.driver = d
			return h, nil
		}
	}
	return nil, fmt.Errorf("spec backend %q: this VM host has %v", spec.Backend, backends(cfg.Drivers))
}

func backends(drivers []hv.Driver) []hv.Backend {
	names := make([]hv.Backend, len(drivers))
	for i, d := range drivers {
		names[i] = d.Name()
	}
	return names
}
