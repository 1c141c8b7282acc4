package journal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestForgottenTables: a table that the database does not know is left over
// where all that is in it stands elsewhere, and a loss where it doesn't. In a
// long journal a table may hold records alone, or their index alone.
func TestForgottenTables(t *testing.T) {
	const there, lost = 1, 1 << 40
	m, _ := parseMachine(created(1, "a").Machine)
	for what, c := range map[string]struct {
		keys [][]byte
		loss bool
	}{
		"nothing of ours":           {keys: [][]byte{[]byte("x/stray")}},
		"records that are there":    {keys: [][]byte{keyRecord(there)}},
		"a record that is not":      {keys: [][]byte{keyRecord(there), keyRecord(lost)}, loss: true},
		"an index that is there":    {keys: [][]byte{keyIndex(m, there)}},
		"an index entry that isn't": {keys: [][]byte{keyIndex(m, lost)}, loss: true},
		"what is behind records":    {keys: [][]byte{keySnapshot(m)}},
	} {
		t.Run(what, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			j := open(t, options(t, fs))
			app(t, j, created(1, "a"))
			app(t, j, engineStarted())
			closed(t, j)
			writeTable(t, j, "/j/db/000900.sst", c.keys)
			j, err := Open("/j", options(t, fs))
			if d, ok := errors.AsType[*DamagedError](err); ok != c.loss || ok && d.File != "/j/db/000900.sst" {
				t.Fatalf("%v", err)
			}
			if err == nil {
				closed(t, j)
			}
		})
	}
}

func writeTable(t *testing.T, j *Journal, name string, keys [][]byte) {
	t.Helper()
	f, err := j.o.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), sstable.WriterOptions{TableFormat: formatMajor.MaxTableFormat()})
	for _, k := range keys {
		if err := w.Set(k, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
