package actors

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// TestTwentyThousandMachines: a list is as long as it must be, and no reply is
// longer than it may be. Bound of a page: a quarter of MaxReply and one machine,
// however much its spec and its health say.
func TestTwentyThousandMachines(t *testing.T) {
	e := startTestEngine(t)
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	const many = 20_000
	for i := range many {
		m := fsm.Machine{
			ID: fmt.Sprintf("0193-%d", i), Name: fmt.Sprintf("Machine-%05d", i), State: fsm.Stopped, Health: fsm.Health{Level: fsm.HealthOK},
			Spec: fsm.Spec{CPUs: 1, Memory: 1 << 30, Backend: "qemu", Restart: "no", Kernel: "/var/lib/images/kernel", Cmdline: "quiet"},
		}
		if i%100 == 0 {
			m.Spec.Cmdline, m.Health.Why = strings.Repeat("x", 4<<10), strings.Repeat("y", 4<<10)
		}
		e.View().publish(&Seen{Machine: m})
	}
	var machines []*wire.Machine
	pages, longest, next := 0, 0, ""
	for again := true; again; again = next != "" {
		page := e.ask(t, &wire.ListMachines{Paged: true, After: next}).(*wire.Machines)
		machines, next = append(machines, page.GetMachines()...), page.GetNext()
		pages, longest = pages+1, max(longest, proto.Size(page))
	}
	t.Logf("%d machines in %d pages, the longest of %d KiB", len(machines), pages, longest>>10)
	if longest > wire.MaxReply/2 || pages < 2 {
		t.Errorf("%d pages, the longest of %d bytes", pages, longest)
	}
	if len(machines) != many {
		t.Fatalf("%d machines, want %d", len(machines), many)
	}
	for i, m := range machines {
		if m.GetName() != fmt.Sprintf("Machine-%05d", i) {
			t.Fatalf("machine %d is %s", i, m.GetName())
		}
	}
}
