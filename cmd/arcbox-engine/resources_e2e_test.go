//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// lives are the ways in which a machine's life can go, each from its creation
// to its removal.
var lives = []struct {
	script string
	live   func(r *rig, name string) error
}{
	{"", func(r *rig, name string) error {
		return first(r.start(name), r.stop(name, false), r.remove(name, false))
	}},
	{"agent=hang;ignore-shutdown", func(r *rig, name string) error {
		started := make(chan error, 1)
		go func() { started <- r.start(name) }() // it ends with the stop
		r.within(name+" is starting", func() bool { return r.state(name) == "Starting" })
		err := r.stop(name, true)
		<-started
		return first(err, r.remove(name, false))
	}},
	{"poweroff-after=1ms", func(r *rig, name string) error {
		_ = r.start(name) // may end before it is ready
		return first(r.stopped(name), r.remove(name, false))
	}},
	{"", func(r *rig, name string) error { return first(r.start(name), r.remove(name, true)) }},
	{"start-fails", func(r *rig, name string) error {
		if r.start(name) == nil {
			return fmt.Errorf("%s started", name)
		}
		return first(r.stopped(name), r.remove(name, false))
	}},
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) stopped(name string) error {
	return do(r, &wire.AwaitMachine{Name: name, Until: "stopped", TimeoutNanos: int64(liveness)})
}

// state is a machine's, "" where it has none.
func (r *rig) state(name string) string {
	m, err := ask[*wire.Machine](r, &wire.InspectMachine{Name: name})
	if err != nil {
		return ""
	}
	return m.GetState()
}

// rounds lives so many machines' lives, a few at a time over one connection.
func (r *rig) rounds(n int) {
	r.Helper()
	var all sync.WaitGroup
	next := make(chan int)
	for range 4 {
		all.Go(func() {
			for i := range next {
				l, name := lives[i%len(lives)], fmt.Sprintf("m%d", i)
				if err := first(r.create(name, l.script), l.live(r, name)); err != nil {
					r.Errorf("round %d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// A thousand machines' lives leave nothing behind: no goroutine, descriptor
// (so no lock), process, directory or socket.
func TestThousandLivesLeaveNothing(t *testing.T) {
	r := newRig(t, "")
	r.rounds(20)
	before := r.held()
	began := time.Now()
	const n = 1000
	r.rounds(n)
	took := time.Since(began)
	if all := r.machines(); len(all) != 0 {
		t.Errorf("%d machines are listed", len(all))
	}
	now := r.settle(before, 8<<20) // the journal's own buffers, mostly
	t.Logf("%d rounds in %s; before: %s; after: %s", n, took.Round(time.Second), before, now)
	left := 0
	_ = filepath.WalkDir(r.home.Run, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left++
		}
		return nil
	})
	if left != 2 { // the engine's own
		t.Errorf("%d sockets are left below the run directory", left)
	}
}

// each does something for so many numbers, many at a time over one connection.
func (r *rig) each(n, atOnce int, f func(i int) error) {
	r.Helper()
	var all sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		all.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					r.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// Ten thousand machines are registered, listed whole, lived among, and removed.
func TestTenThousandMachines(t *testing.T) {
	const n = 10_000
	r := newRig(t, "")
	r.rounds(5)
	before := r.held()
	name := func(i int) string { return fmt.Sprintf("machine-%d", i) }
	began := time.Now()
	r.each(n, 200, func(i int) error { return r.create(name(i), "") })
	created := time.Since(began)
	full := r.held()
	perMachine := (full.heap - before.heap) / n
	began = time.Now()
	if got := len(r.machines()); got != n {
		t.Errorf("%d machines are listed", got)
	}
	listed := time.Since(began)
	r.rounds(5)
	began = time.Now()
	r.each(n, 200, func(i int) error { return r.remove(name(i), false) })
	removed := time.Since(began)
	if got := len(r.machines()); got != 0 {
		t.Errorf("%d machines are listed", got)
	}
	// protoactor keeps the places of so many removed children, and some of each.
	now := r.settle(before, 28<<20)
	t.Logf("%d created in %s (%d bytes of heap and %d goroutines for all), listed in %s, removed in %s; after: %s",
		n, created, perMachine, full.routines-before.routines, listed, removed, now)
	if perMachine > 12<<10 {
		t.Errorf("a registered machine costs %d bytes of heap", perMachine)
	}
	if full.routines > before.routines+100 || full.descriptors > before.descriptors+10 {
		t.Errorf("registered machines cost goroutines or descriptors: %s", full)
	}
}
