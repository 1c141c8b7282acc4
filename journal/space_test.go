package journal

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// The ballast is laid, given up when the disk is full, and laid again.
func TestBallast(t *testing.T) {
	const size = 100 << 10
	var free atomic.Uint64
	free.Store(DefaultFloor * 2)
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	dir := t.TempDir()
	o := Options{Ballast: size, Now: c.Now, FreeSpace: func(string) (uint64, error) { return free.Load(), nil }}
	ballast := func() int64 {
		st, err := os.Stat(filepath.Join(dir, "ballast"))
		if err != nil {
			return 0
		}
		return st.Size()
	}
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	app(t, j, created(1, "one"))
	steps := []struct {
		free uint64
		low  bool
		want int64
	}{
		{DefaultFloor * 2, false, size},
		{DefaultFloor - 1, true, size},
		{size - 1, true, 0},
		{size + 1, true, 0},
		{DefaultFloor, false, 0},
		{DefaultFloor + size + 1, false, size},
	}
	for i, s := range steps {
		free.Store(s.free)
		c.advance(time.Second)
		app(t, j, health(1, "x")) // an observed fact fits always
		app(t, j, health(1, "y")) // behind what the writer did after the one before
		if j.DiskLow() != s.low || ballast() != s.want {
			t.Errorf("step %d: low %v, ballast of %d bytes", i, j.DiskLow(), ballast())
		}
	}
	if err := j.GiveUpBallast(); err != nil || ballast() != 0 {
		t.Errorf("given up by hand: %v, %d bytes", err, ballast())
	}
	c.advance(time.Second)
	app(t, j, health(1, "x"))
	closed(t, j)
	if ballast() != size {
		t.Errorf("there is room again, and a ballast of %d bytes", ballast())
	}

	free.Store(10) // even opening needs the room
	if j, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	if ballast() != 0 {
		t.Error("opened on a full disk with the ballast in place")
	}
	closed(t, j)
}
