package fsm

import (
	"slices"
	"strings"
)

// MaxDenials is how many places are recorded that a machine's policy kept it from,
// of one launch and one policy: its guest may try as many as it likes.
const MaxDenials = 8

// Denial is a place that a machine was not let to: its policy denies it.
type Denial struct {
	Protocol string `cbor:"1,keyasint" json:"protocol"` // tcp, udp, icmp, dns, ip NUMBER
	To       string `cbor:"2,keyasint" json:"to"`       // address and port; an address where there are no ports; of dns the name that was asked for
}

// String is the place as people read it.
func (d Denial) String() string { return d.To + "/" + d.Protocol }

// EgressDeniedFact is the payload of egress-denied.
type EgressDeniedFact struct {
	Denial Denial `cbor:"1,keyasint" json:"denial"`
}

// Kind implements Fact.
func (*EgressDeniedFact) Kind() Kind { return KindEgressDenied }

// NewDenials are those of which no record tells yet, as many as may be recorded.
func (m Machine) NewDenials(all []Denial) []Denial {
	if m.Launch == nil || !May(m.State, KindEgressDenied) {
		return nil
	}
	known := slices.Clone(m.Launch.Denials)
	for _, d := range all {
		if len(known) < MaxDenials && !slices.Contains(known, d) {
			known = append(known, d)
		}
	}
	return known[len(m.Launch.Denials):]
}

// foldEgressDenied keeps no more than are recorded, whoever wrote the journal.
func foldEgressDenied(m *Machine, r Record) {
	if m.Launch != nil && len(m.Launch.Denials) < MaxDenials {
		m.launch(func(l *Launch) {
			l.Denials = append(l.Denials[:len(l.Denials):len(l.Denials)], r.Fact.(*EgressDeniedFact).Denial)
		})
	}
}

// DeniedTo is where the machine was not let to, in words; "" = no record tells of any.
func (m Machine) DeniedTo() string {
	if m.Launch == nil {
		return ""
	}
	var places []string
	for _, d := range m.Launch.Denials {
		places = append(places, d.String())
	}
	return strings.Join(places, ", ")
}
