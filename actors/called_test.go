package actors

import (
	"slices"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// Records that have no name are shown with the one that their machine had then.
func TestNamesThen(t *testing.T) {
	e := startTestEngine(t)
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	names := []string{"a", "b", "c"}
	e.ask(t, create("a"))
	for i, name := range names {
		for _, memory := range []int64{256, 512} {
			if d, ok := e.ask(t, &wire.SetMachine{Name: name, Memory: memory << 20}).(*wire.Done); !ok {
				t.Fatal(d)
			}
		}
		if i+1 < len(names) {
			e.ask(t, &wire.RenameMachine{Name: name, NewName: names[i+1]})
		}
	}
	entries, err := e.s.Journal.Query(journal.Query{Kinds: []fsm.Kind{fsm.KindSpecChanged}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	then, spans := namesThen{e.s, map[string]called{}}, map[called]bool{}
	for _, x := range entries {
		got = append(got, then.recordOnWire(x).GetName())
		spans[then.last[x.Machine]] = true
	}
	if want := []string{"a", "a", "b", "b", "c", "c"}; !slices.Equal(got, want) || len(spans) != 2 {
		t.Errorf("%v, want %v; the journal was gone through for %v", got, want, spans)
	}
	slices.Reverse(entries)
	for _, x := range entries { // in whatever order
		if name := then.recordOnWire(x).GetName(); name != got[len(got)-1] {
			t.Errorf("%d: %s, want %s", x.Seq, name, got[len(got)-1])
		}
		got = got[:len(got)-1]
	}
}
