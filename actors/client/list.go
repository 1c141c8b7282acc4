package client

import (
	"fmt"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// List asks for all machines, page after page. It ends, whoever answers: each
// page goes on behind the one before.
func List(ask func(*wire.ListMachines) (*wire.Machines, error)) (*wire.Machines, error) {
	all, err := ask(&wire.ListMachines{Paged: true})
	if err != nil {
		return nil, err
	}
	for after := all.GetNext(); after != ""; {
		page, err := ask(&wire.ListMachines{Paged: true, After: after})
		if err != nil {
			return nil, err
		}
		next := page.GetNext()
		if next != "" && next <= after {
			return nil, fmt.Errorf("list: the page behind %q ends with %q", after, next)
		}
		all.Machines, all.Version, all.Engine = append(all.Machines, page.GetMachines()...), page.GetVersion(), page.GetEngine()
		after = next
	}
	all.Next = ""
	return all, nil
}
