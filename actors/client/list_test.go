package client_test

import (
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// TestList: pages become one list, and an engine that knows no pages is
// understood.
func TestList(t *testing.T) {
	pages := map[string]*wire.Machines{
		"":  {Machines: []*wire.Machine{{Name: "a"}, {Name: "B"}}, Next: "b"},
		"b": {Machines: []*wire.Machine{{Name: "c"}}, Version: 7},
	}
	all, err := client.List(func(m *wire.ListMachines) (*wire.Machines, error) { return pages[m.GetAfter()], nil })
	if err != nil || len(all.GetMachines()) != 3 || all.GetMachines()[2].GetName() != "c" || all.GetVersion() != 7 || all.GetNext() != "" {
		t.Errorf("%v, %v", all, err)
	}
	whole, err := client.List(func(*wire.ListMachines) (*wire.Machines, error) { return pages["b"], nil })
	if err != nil || len(whole.GetMachines()) != 1 {
		t.Errorf("%v, %v", whole, err)
	}
}

// TestListEnds: pages that lead nowhere are a fault of the engine, not a client
// that asks for ever.
func TestListEnds(t *testing.T) {
	for _, next := range []string{"a", "b"} {
		asked := 0
		_, err := client.List(func(m *wire.ListMachines) (*wire.Machines, error) {
			if asked++; asked > 5 {
				t.Fatal("it asks for ever")
			}
			if m.GetAfter() == "" {
				return &wire.Machines{Next: "b"}, nil
			}
			return &wire.Machines{Next: next}, nil
		})
		if err == nil {
			t.Errorf("pages that end with b and %s were taken", next)
		}
	}
}
