package agent

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a program that was started here. status may be read once ended is
// closed.
type child struct {
	pid    int
	ended  chan struct{}
	status unix.WaitStatus
}

// children starts programs and collects exit statuses. The lock is held over
// each start and each collection, so that a program which ends at once is
// known by the time it is reaped.
type children struct {
	orphans bool // collect also what we did not start: process 1 does

	mu      sync.Mutex
	running map[int]*child
}

func newChildren(orphans bool) *children {
	return &children{orphans: orphans, running: make(map[int]*child)}
}

// start runs a program. Its error is the bare one of fork, chdir or exec.
func (c *children) start(path string, argv []string, attr *syscall.ProcAttr) (*child, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	ch := &child{pid: pid, ended: make(chan struct{})}
	c.running[pid] = ch
	return ch, nil
}

// signal sends to the process group of a program that was not reaped yet: till
// then its number can't belong to anybody else.
func (c *children) signal(ch *child, sig unix.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[ch.pid] != ch {
		return os.ErrProcessDone
	}
	if err := unix.Kill(-ch.pid, sig); err != nil {
		return fmt.Errorf("signal %d to group %d: %w", sig, ch.pid, err)
	}
	return nil
}

// run collects until ctx is over.
func (c *children) run(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for {
		c.collect()
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// collect reaps everything that has ended. One signal may stand for many.
func (c *children) collect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.orphans {
		for c.reap(-1) {
		}
		return
	}
	for pid := range c.running {
		c.reap(pid)
	}
}

// reap takes one exit status, if there is one, to where it belongs.
func (c *children) reap(pid int) bool {
	var status unix.WaitStatus
	var got int
	var err error
	for {
		got, err = unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil || got <= 0 {
		return false
	}
	if ch := c.running[got]; ch != nil {
		delete(c.running, got)
		ch.status = status
		close(ch.ended)
	}
	return true
}
