package journal

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestTornTablesInTheWay: tables that an engine could not finish, because it
// was killed or the disk was full, lie under the very names that the next
// one gives to its own. Those are whole, and stay.
func TestTornTablesInTheWay(t *testing.T) {
	fs := vfs.NewCrashableMem()
	last := uint64(0)
	for round := range 4 {
		j := open(t, options(t, fs))
		if j.Last() != last {
			t.Fatalf("round %d: %d records of %d", round, j.Last(), last)
		}
		sound(t, j)
		for i := range 50 {
			last = app(t, j, created(round*100+i, fmt.Sprintf("m%d-%d", round, i)))[0].Seq
		}
		closed(t, j)
		for n := range 64 {
			name := fmt.Sprintf("/j/db/%06d.sst", n)
			if _, err := fs.Stat(name); err == nil {
				continue
			}
			if err := writeFile(fs, name, []byte("half a table")); err != nil {
				t.Fatal(err)
			}
		}
	}
	j := open(t, options(t, fs))
	if len(j.Machines()) != 200 {
		t.Errorf("%d machines of 200", len(j.Machines()))
	}
	sound(t, j)
	closed(t, j)
}
