package fsm

import (
	"fmt"
	"testing"
)

// What a guest tries is recorded once, up to a bound, of each launch and each policy.
func TestDenials(t *testing.T) {
	at := func(n int) Denial { return Denial{Protocol: "tcp", To: fmt.Sprintf("1.2.3.4:%d", n)} }
	all := []Denial{at(1), at(1), at(2)}
	m := Machine{ID: "a", State: Running, Spec: Spec{Egress: "deny"}, Launch: &Launch{ID: "l"}}
	fold := func(f Fact) {
		t.Helper()
		next, err := m.Apply(Record{Machine: "a", Kind: f.Kind(), Fact: f})
		if err != nil {
			t.Fatal(err)
		}
		m = next
	}
	for _, d := range m.NewDenials(all) {
		fold(&EgressDeniedFact{Denial: d})
	}
	if got := m.DeniedTo(); got != "1.2.3.4:1/tcp, 1.2.3.4:2/tcp" || len(m.NewDenials(all)) != 0 {
		t.Errorf("%q, and %v", got, m.NewDenials(all))
	}
	for n := range 100 {
		all = append(all, at(n))
	}
	old, more := m, m.NewDenials(all)
	for n := range 100 { // whoever wrote the journal
		fold(&EgressDeniedFact{Denial: at(n)})
	}
	if len(more) != MaxDenials-2 || len(m.Launch.Denials) != MaxDenials || len(old.Launch.Denials) != 2 || len(m.NewDenials(all)) != 0 {
		t.Errorf("%d more, %d are kept, the machine before had %v", len(more), len(m.Launch.Denials), old.Launch.Denials)
	}
	same := m.Spec
	same.CPUs = 7
	if fold(&SpecChangedFact{Spec: same}); len(m.Launch.Denials) != MaxDenials {
		t.Errorf("with the policy as it was %v are left", m.Launch.Denials)
	}
	same.Egress = "dns"
	if fold(&SpecChangedFact{Spec: same}); m.Launch.Denials != nil || len(m.NewDenials(all)) != MaxDenials {
		t.Errorf("with another policy %v are left", m.Launch.Denials)
	}
	m.Launch = nil
	if fold(&EgressDeniedFact{Denial: at(1)}); m.Launch != nil || m.NewDenials(all) != nil || m.DeniedTo() != "" {
		t.Errorf("without a launch: %+v", m.Launch)
	}
	m.State, m.Launch = Stopped, &Launch{}
	if m.NewDenials(all) != nil {
		t.Error("a machine that does not run is denied something")
	}
}
