package journal

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// blockOfLog is Pebble's: damage is told from a torn end by what follows in the
// next one.
const blockOfLog = 32 << 10

// The head file is not synced, so that after a power cut it may lag: at worst,
// as here, to where the journal was opened. What it can't see then is a log that
// was damaged as well; this measures what doc.go says of that. Damage before the
// last block of the log is never without a word. In the last one, all that
// follows it is lost without one.
func TestWhatALaggingHeadCantSee(t *testing.T) {
	const appends = 400
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, created(1, "one"))
	for i := range appends - 1 {
		app(t, j, health(1, fmt.Sprint(i)))
	}
	before, err := j.Query(Query{})
	if err != nil {
		t.Fatal(err)
	}
	cut := copied(t, fs)
	closed(t, j)
	if err := createHead(cut, "/j", 0, hash{}); err != nil { // as if it had never reached the disk
		t.Fatal(err)
	}
	name := newest(t, cut, ".log")
	log, err := readFile(cut, name)
	if err != nil {
		t.Fatal(err)
	}
	// lost is how many appends are lost without a word: none where open refuses.
	lost := func(at int, content []byte) uint64 {
		t.Helper()
		if err := writeFile(cut, name, content); err != nil {
			t.Fatal(err)
		}
		j, err := OpenReadOnly("/j", quiet(options(t, cut)))
		if _, ok := errors.AsType[*DamagedError](err); ok {
			return 0
		}
		if err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		defer closed(t, j)
		es, err := j.Query(Query{})
		if err != nil || uint64(len(es)) != j.Last() || len(es) > 0 && !reflect.DeepEqual(es, before[:len(es)]) {
			t.Fatalf("at %d: what is left is no beginning of what was: %v", at, err)
		}
		return appends - j.Last()
	}
	last := (len(log) - 1) / blockOfLog * blockOfLog // where the last block starts
	var silent, told int
	var most uint64
	for at := 0; at < len(log); at += 61 * min(stride, 20) {
		v := bytes.Clone(log)
		v[at] ^= 0x01
		n := lost(at, v)
		switch most = max(most, n); {
		case n == 0:
			told++
		case at < last-blockOfLog/4: // a record that begins in one block may end in the next
			t.Errorf("byte %d of %d: %d appends of %d are gone without a word", at, len(log), n, appends)
		default:
			silent++
		}
	}
	t.Logf("%d bytes of log, the last block from %d; flips: %d told, %d silent, which cost up to %d appends of %d", len(log), last, told, silent, most, appends)
	if silent == 0 || told == 0 || last == 0 {
		t.Error("doc.go says otherwise")
	}
}

// A table of several blocks: what the damaged one held is shown as unreadable,
// and nothing else is.
func TestEveryBlockOfATable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := open(t, options(t, fs))
	app(t, j, engineStarted())
	for n := range 40 {
		recs := []fsm.Record{created(n, fmt.Sprint("m", n))}
		for i := range 12 {
			recs = append(recs, health(n, fmt.Sprintf("%d %x", i, hash{byte(i), byte(n)})))
		}
		app(t, j, recs...)
	}
	if err := errors.Join(j.db.Flush(), j.db.Compact(t.Context(), []byte("a"), []byte("z"), false)); err != nil {
		t.Fatal(err)
	}
	a := newAge(t, "a table of several blocks", fs, j)
	closed(t, j)
	n := &tally{outcomes: map[string]int{}}
	name := newest(t, a.fs, ".sst")
	content, err := readFile(a.fs, name)
	if err != nil {
		t.Fatal(err)
	}
	step := len(content) / 40
	if stride > 1 {
		step *= 4
	}
	for at := 0; at < len(content); at += step {
		v := bytes.Clone(content)
		v[at] ^= 0x10
		if err := writeFile(a.fs, name, v); err != nil {
			t.Fatal(err)
		}
		a.damage(t, a.fs, fmt.Sprintf("%s: byte %d", name, at), at/step%10 == 0, n)
	}
	t.Logf("%d bytes: %+v", len(content), *n)
	if n.outcomes[quarantined] == 0 {
		t.Errorf("nothing was quarantined: %+v", n)
	}
}
