package vmhost

import (
	"errors"
	"os"
	"runtime"
)

// The parent-death signal of Linux follows the thread that forked, not the
// process. The main thread lives as long as the process does, so init ties the
// main goroutine to it, and Run forks from there only.
func init() { runtime.LockOSThread() }

// forks carries process starts to the main goroutine.
type forks struct {
	work chan func()
	done chan struct{} // closed when the main goroutine takes no more
}

func newForks() *forks {
	return &forks{work: make(chan func()), done: make(chan struct{})}
}

// start is hv.Env.Fork.
func (f *forks) start(path string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	type result struct {
		p   *os.Process
		err error
	}
	results := make(chan result, 1)
	work := func() {
		p, err := os.StartProcess(path, argv, withDeathSignal(attr))
		results <- result{p, err}
	}
	select {
	case f.work <- work:
		r := <-results
		return r.p, r.err
	case <-f.done:
		return nil, errors.New("vm host: is ending, starts no process")
	}
}

// serve starts what is asked for until code comes. Only the main goroutine
// calls it.
func (f *forks) serve(code <-chan int) int {
	defer close(f.done)
	for {
		select {
		case work := <-f.work:
			work()
		case c := <-code:
			return c
		}
	}
}
