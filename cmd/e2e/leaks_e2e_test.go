//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNothingLeaks: fifty machines are created, started, asked something,
// stopped and removed. The engine that did it has no more descriptors, files,
// sockets, locks, directories and processes than before the first, and no
// more memory than rounds that come cost.
func TestNothingLeaks(t *testing.T) {
	b := newBed(t)
	b.quiet = true
	b.ok("engine", "start")
	_, soak := plannedRun(t)
	b.lives(t, "warm")
	var before []string
	b.eventually("the first machine's directory is gone", 10*time.Second, func() bool {
		before = b.footprint(t)
		return !slices.ContainsFunc(before, func(path string) bool { return filepath.Base(filepath.Dir(path)) == "machines" })
	})
	fds, rss := descriptors(b.engine().PID), residentKiB(b.engine().PID)
	began, rounds := time.Now(), 0
	for rounds < 50 || time.Since(began) < soak/10 {
		var lanes sync.WaitGroup
		for _, name := range []string{"x", "y"} {
			lanes.Go(func() { b.lives(t, name) })
			rounds++
		}
		lanes.Wait()
		if t.Failed() {
			return
		}
	}
	var left string
	defer func() {
		if t.Failed() {
			t.Log(left)
		}
	}()
	b.eventually("the engine is at rest", 30*time.Second, func() bool {
		now, files, holders := descriptors(b.engine().PID), b.footprint(t), b.holders("", "")
		left = fmt.Sprintf("%d descriptors, %d at first; files:\n%s\nat first:\n%s\nprocesses: %v", now, fds, strings.Join(files, "\n"), strings.Join(before, "\n"), holders)
		return now <= fds+2 && slices.Equal(files, before) && len(holders) == 0
	})
	after, rssAfter := descriptors(b.engine().PID), residentKiB(b.engine().PID)
	report(t, "%d machines created, started, stopped and removed in %s: descriptors %d, then %d; memory %d MiB, then %d MiB; files, sockets, locks, directories and processes left: 0",
		rounds, time.Since(began).Round(time.Second), fds, after, rss>>10, rssAfter>>10)
	if grown := rssAfter - rss; grown > 64<<10 {
		t.Errorf("the engine grew by %d KiB in %d rounds", grown, rounds)
	}
	b.ok("journal", "verify")
}

// lives is one machine's whole life. It fails the test without ending it, as
// it runs beside others.
func (b *bed) lives(t *testing.T, name string) {
	for _, step := range [][]string{
		{"create", name, "--memory", "128", "--cpus", "1"}, {"start", name}, {"exec", name, "-n", "--", "true"}, {"stop", name}, {"rm", name},
	} {
		if r := b.run(step...); r.code != 0 {
			t.Errorf("%v: exit %d: %s", step, r.code, r.err)
			return
		}
	}
}

// footprint is every file of a home, but for the journal's and the log's, and the
// network's, whose process comes and goes.
func (b *bed) footprint(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(b.home, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // it went while we looked
		}
		if err == nil && d.IsDir() && slices.Contains([]string{"journal", "log", "network", "n"}, d.Name()) {
			return filepath.SkipDir
		}
		out = append(out, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
