package journal

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tally counts what became of damaged journals.
type tally struct {
	cases, recovered, saved uint64
	outcomes                map[string]int
}

// damage tries one damaged copy of an age in every way. The file that was
// damaged is put back by its caller.
func (a age) damage(t *testing.T, fs vfs.FS, what string, thorough bool, n *tally) {
	t.Helper()
	n.cases++
	o := quiet(options(t, fs))
	out, err := a.outcome(OpenReadOnly, o)
	if err != nil {
		t.Errorf("%s: %s: %v", a.name, what, err)
	}
	n.outcomes[out]++
	if !thorough {
		return
	}
	saved, err := a.recovers(o)
	if err != nil {
		t.Errorf("%s: %s: recover: %v", a.name, what, err)
	}
	n.recovered, n.saved = n.recovered+1, n.saved+saved
	// An engine that opens it for writing must come to the same, and leave all
	// there is to recover.
	o.FS = copied(t, fs)
	switch again, err := a.outcome(Open, o); {
	case err != nil:
		t.Errorf("%s: %s: open to write: %v", a.name, what, err)
	case again != out:
		t.Errorf("%s: %s: open to read: %s; to write: %s", a.name, what, out, again)
	case again == refused:
		if left, err := a.recovers(o); err != nil || left < saved {
			t.Errorf("%s: %s: recover after a refused open: %d records, %d before it, %v", a.name, what, left, saved, err)
		}
	}
}

// Whatever byte of whatever file is flipped, and wherever a file is cut off,
// either everything is there, or what is lost is shown as unreadable and its
// machine is damaged, or open refuses and names the file and the way on. And
// recover saves what can be read, invents nothing, and lists what is lost.
func TestEveryByteOfEveryFile(t *testing.T) {
	for _, a := range ages(t) {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			flips, cuts := &tally{outcomes: map[string]int{}}, &tally{outcomes: map[string]int{}}
			bytes := 0
			for name, text := range files(t, a.fs, "/j") {
				bytes += len(text)
				a.everyByte(t, name, []byte(text), flips, cuts)
			}
			t.Logf("%d bytes; flips: %+v; cuts: %+v", bytes, *flips, *cuts)
			for _, n := range []*tally{flips, cuts} {
				if n.cases < uint64(bytes/stride/3) || n.recovered < n.cases/recoverEach/4 || n.outcomes[whole] == 0 || n.outcomes[refused] == 0 {
					t.Errorf("too few cases: %+v", n)
				}
			}
		})
	}
}

func (a age) everyByte(t *testing.T, name string, content []byte, flips, cuts *tally) {
	t.Helper()
	fs := copied(t, a.fs)
	put := func(v []byte) {
		if err := writeFile(fs, name, v); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at < len(content); at += stride {
		if path.Base(name) == "head" && at%headStride > headSlot && at/stride%64 > 0 {
			continue // nobody reads what lies between the slots
		}
		thorough := at/stride%recoverEach == 0
		masks := []byte{0x01, 0x80, 0xff}
		if strings.HasPrefix(path.Base(name), "OPTIONS") && at/stride%4 > 0 {
			masks = masks[:1] // text of Pebble's, of which it minds a few words
		}
		for _, x := range masks {
			v := slices.Clone(content)
			v[at] ^= x
			put(v)
			a.damage(t, fs, fmt.Sprintf("%s: byte %d ^ %#x", name, at, x), thorough && x == 1, flips)
		}
		put(content[:at])
		a.damage(t, fs, fmt.Sprintf("%s: cut off at %d", name, at), thorough, cuts)
	}
}

// No file can be missing without a word, and none that is missing makes an
// engine destroy the others.
func TestEveryMissingFile(t *testing.T) {
	for _, a := range ages(t) {
		n := &tally{outcomes: map[string]int{}}
		for name := range files(t, a.fs, "/j") {
			fs := copied(t, a.fs)
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
			a.damage(t, fs, name+" is missing", true, n)
		}
		t.Logf("%s: %+v", a.name, *n)
	}
}
