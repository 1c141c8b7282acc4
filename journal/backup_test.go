package journal

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
)

// A backup that is made while many append opens, verifies, and is a part of the
// history from its beginning on.
func TestBackupUnderLoad(t *testing.T) {
	fs := vfs.NewCrashableMem()
	o := options(t, fs)
	o.Checkpoint = 50
	j := open(t, o)
	const writers = 8
	for n := range writers {
		app(t, j, created(n, fmt.Sprint("m", n)))
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := j.Append(health(n, fmt.Sprint(i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 5 {
		before := j.Last()
		dir := fmt.Sprint("/backup", i)
		b, err := j.Backup(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if b.Last < before || b.Records != b.Last || b.Last > j.Last() {
			t.Errorf("%+v, while the journal went from %d to %d", b, before, j.Last())
		}
		holds(t, j, dir, o)
	}
	close(stop)
	all.Wait()
	closed(t, j)
}

// holds opens a backup for writing, and holds it against the journal.
func holds(t *testing.T, j *Journal, dir string, o Options) {
	t.Helper()
	c, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, c)
	sound(t, c)
	want, err := j.At(c.Last())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Machines, c.Machines()); d != "" {
		t.Errorf("the backup holds another state (-want +got):\n%s", d)
	}
	app(t, c, health(1, "goes on"))
}

// What lies in the way is left as it is; what fails leaves nothing behind.
func TestBackupRefuses(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var broken bool
	o := options(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken && op.Kind == errorfs.OpCreate && mem.PathDir(op.Path) == "/b/db" {
			return errors.New("no")
		}
		return nil
	})))
	free := uint64(1 << 40)
	o.FreeSpace = func(string) (uint64, error) { return free, nil }
	j := open(t, o)
	defer closed(t, j)
	app(t, j, created(1, "one"))
	if err := errors.Join(mem.MkdirAll("/full/x", 0o700), mem.MkdirAll("/empty", 0o700)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]error{"/full": ErrNotEmpty, "/j": ErrNotEmpty, "/j/db/x": ErrNotEmpty, "/not/there": nil} {
		if _, err := j.Backup(t.Context(), dir); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	free = 1 << 20
	if _, err := j.Backup(t.Context(), "/b"); err == nil {
		t.Error("a full disk was made fuller")
	}
	free, broken = 1<<40, true
	if _, err := j.Backup(t.Context(), "/b"); err == nil {
		t.Error("a failed copy was taken for a backup")
	}
	if _, err := mem.Stat("/b"); err == nil {
		t.Error("it was left behind")
	}
	broken = false
	if _, err := j.Backup(t.Context(), "/empty"); err != nil {
		t.Error(err)
	}
	holds(t, j, "/empty", o)
}

// A journal that nobody writes is backed up as well, and a damaged one is not.
func TestBackupReadOnly(t *testing.T) {
	fs := sample(t)
	o := options(t, fs)
	j, err := OpenReadOnly("/j", o)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := j.Backup(t.Context(), "/b"); err != nil || b.Last != 8 {
		t.Error(b, err)
	}
	holds(t, j, "/b", o)
	closed(t, j)
	j = open(t, o)
	defer closed(t, j)
	forge{t, j.db}.record(4, func(v []byte) []byte { v[16] ^= 1; return v })
	if _, err := j.Backup(t.Context(), "/c"); err == nil {
		t.Error("a damaged journal was backed up without a word")
	}
}
