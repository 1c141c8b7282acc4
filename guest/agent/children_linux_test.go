package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// asReaper is set in the environment of a test binary that is to play process
// 1: a reaper of orphans takes exit statuses that are not its own, so it must
// have a process to itself.
const asReaper = "ARCBOX_TEST_REAPER"

func TestMain(m *testing.M) {
	if os.Getenv(asReaper) != "" {
		if err := reapOrphans(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == SFTPServer { // the agent starts it so
		if err := SFTP(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestReapsOrphansAndStealsNothing starts many programs that end at once and
// leave orphans behind, beside a collector of orphans.
func TestReapsOrphansAndStealsNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asReaper+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func reapOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	c := newChildren(true)
	var running, starting sync.WaitGroup
	running.Go(func() { c.run(ctx) })
	failed := make(chan error, 200)
	for worker := range 4 {
		starting.Go(func() {
			for i := range 25 {
				if err := startAndCheck(ctx, c, (worker*25+i)%200+1); err != nil {
					failed <- err
				}
			}
		})
	}
	starting.Wait()
	// The last orphans end when they like; then no child is left at all.
	for ctx.Err() == nil {
		if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err == unix.ECHILD {
			break
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("orphans are left: %w", ctx.Err())
	}
	stop()
	running.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func startAndCheck(ctx context.Context, c *children, status int) error {
	script := "(true &) ; (exec sleep 0.01 &) ; exit " + strconv.Itoa(status)
	ch, err := c.start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Env: os.Environ()})
	if err != nil {
		return err
	}
	select {
	case <-ch.ended:
	case <-ctx.Done():
		return fmt.Errorf("the status of %d never came", ch.pid)
	}
	if got := ch.status.ExitStatus(); got != status {
		return fmt.Errorf("status %d, want %d", got, status)
	}
	return nil
}

func TestSignalOfAnEndedChild(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := newChildren(false)
	var running sync.WaitGroup
	running.Go(func() { c.run(ctx) })
	defer running.Wait()
	defer stop()
	ch, err := c.start("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		t.Fatal(err)
	}
	<-ch.ended
	if err := c.signal(ch, unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal: %v, want %v", err, os.ErrProcessDone)
	}
	if _, err := c.start("/no/such", []string{"such"}, &syscall.ProcAttr{}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("start: %v", err)
	}
	if len(c.running) != 0 {
		t.Error("something is still registered")
	}
}
