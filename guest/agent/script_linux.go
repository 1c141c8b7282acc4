package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// Where scripts leave what became of them, in the machine's root: a mark before
// one begins, and its result. Both live and die with what the script did.
const (
	scriptDir    = "var/lib/arcbox/provision"
	scriptBegun  = ".begun"
	scriptResult = ".json"
	scriptFile   = ".script"
	maxResult    = 64 << 10
)

// errGoingDown: the machine ends, and the set-up with it. It has no result.
var errGoingDown = errors.New("the machine is going down")

// kept is a result as its file has it.
type kept struct {
	Status   int32  `json:"status"`
	Signal   int32  `json:"signal,omitempty"`
	TimedOut bool   `json:"timed_out,omitempty"`
	Error    string `json:"error,omitempty"`
	Took     int64  `json:"took_ns"`
	Tail     []byte `json:"tail,omitempty"`
}

func (u *provisions) path(key, suffix string) string {
	return filepath.Join(u.root, scriptDir, key+suffix)
}

// before is what became of a script that was begun before: its result, or that
// nobody knows it. Nil = it never was.
func (u *provisions) before(key string) (*wire.ProvisionDone, error) {
	f, err := os.Open(u.path(key, scriptResult))
	if err == nil {
		defer f.Close()
		var k kept
		text, err := io.ReadAll(io.LimitReader(f, maxResult))
		if err == nil {
			err = json.Unmarshal(text, &k)
		}
		if err != nil {
			return &wire.ProvisionDone{Error: "its result can't be read: " + err.Error()}, nil
		}
		return &wire.ProvisionDone{
			Status: k.Status, Signal: k.Signal, TimedOut: k.TimedOut, Error: k.Error, TookNanos: k.Took,
			Tail: k.Tail[max(0, len(k.Tail)-wire.MaxTail):],
		}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if _, err := os.Lstat(u.path(key, scriptBegun)); err == nil {
		return &wire.ProvisionDone{Interrupted: true, Error: "the machine ended before the script did"}, nil
	}
	return nil, nil
}

// runScript marks that it begins, runs, and keeps the result. life is the
// agent's.
func (a *Agent) runScript(life, limited context.Context, s *provisioning, script []byte) (*wire.ProvisionDone, error) {
	u := &a.provisions
	if err := u.mark(s.key); err != nil {
		return &wire.ProvisionDone{Error: "the script was not run: " + err.Error()}, nil
	}
	began := time.Now()
	done := a.run(limited, s, script)
	if life.Err() != nil {
		return nil, errGoingDown // the next agent finds the mark
	}
	done.TookNanos = int64(time.Since(began))
	done.Tail = s.output.tail(wire.MaxTail)
	if err := u.keep(s.key, done); err != nil {
		a.opts.Log.Error("set-up: its result is not kept", "key", s.key, "err", err)
	}
	return done, nil
}

// mark makes the mark, synced, before the script does anything.
func (u *provisions) mark(key string) error {
	if err := os.MkdirAll(filepath.Join(u.root, scriptDir), 0o700); err != nil {
		return err
	}
	return u.put(key, scriptBegun, nil)
}

func (u *provisions) keep(key string, d *wire.ProvisionDone) error {
	text, err := json.Marshal(kept{
		Status: d.GetStatus(), Signal: d.GetSignal(), TimedOut: d.GetTimedOut(), Error: d.GetError(), Took: d.GetTookNanos(), Tail: d.GetTail(),
	})
	if err != nil {
		return err
	}
	return u.put(key, scriptResult, text)
}

// put makes a file whole and durable.
func (u *provisions) put(key, suffix string, text []byte) error {
	path := u.path(key, suffix)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// run runs the script as root, by its first line's interpreter or by sh. Its
// file is gone when it has ended: it may hold secrets.
func (a *Agent) run(ctx context.Context, s *provisioning, script []byte) *wire.ProvisionDone {
	path := a.provisions.path(s.key, scriptFile)
	defer os.Remove(path)
	if err := writeProgram(path, script); err != nil {
		return &wire.ProvisionDone{Error: "the script was not run: " + err.Error()}
	}
	argv := []string{path}
	if !bytes.HasPrefix(script, []byte("#!")) {
		argv = []string{"/bin/sh", path}
	}
	p, err := prepare(&wire.ExecStart{Argv: argv})
	var ran *program
	if err == nil {
		var io streams
		if io, err = onePipe(); err == nil {
			ran, err = a.launchOn(p, io)
		}
	}
	if err != nil {
		return &wire.ProvisionDone{Error: "the script was not run: " + err.Error()}
	}
	defer ran.io.close()
	var reading sync.WaitGroup
	reading.Go(func() { pump(ran.io.stdout, s.output.add) })
	timedOut := ran.await(ctx)
	ran.io.linger()
	reading.Wait()
	end := result(ran.child.status, timedOut)
	done := &wire.ProvisionDone{Status: end.GetStatus(), Signal: end.GetSignal(), TimedOut: timedOut}
	if timedOut {
		done.Error = "it was killed: its time was over"
	}
	return done
}

// await awaits the program's end, and brings it about when ctx is over.
func (p *program) await(ctx context.Context) (timedOut bool) {
	select {
	case <-p.child.ended:
		return false
	case <-ctx.Done():
	}
	p.signal(unix.SIGKILL)
	<-p.child.ended
	return errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// writeProgram writes a file that can be run at once: no program that is started
// meanwhile may inherit it open for writing.
func writeProgram(path string, text []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, text, 0o700)
}

// onePipe is for a program that reads nothing and writes all to one place.
func onePipe() (streams, error) {
	s := streams{theirs: &[3]int{-1, -1, -1}}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return s, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	s.theirs[0] = null
	var fd [2]int
	if err = unix.Pipe2(fd[:], unix.O_CLOEXEC); err == nil {
		s.theirs[1] = fd[1]
		s.stdout = os.NewFile(uintptr(fd[0]), "output")
		if s.theirs[2], err = unix.FcntlInt(uintptr(fd[1]), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			return s, nil
		}
	}
	s.close()
	return s, fmt.Errorf("pipe: %w", err)
}
