package actors

import (
	"fmt"
	"sort"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// past answers what was at a time: all machines, or one.
func past(s *shared, q *wire.MachinesAt) (proto.Message, error) {
	seq, at := q.GetSeq(), time.Unix(0, q.GetUnixNanos())
	if seq == 0 {
		var err error
		if seq, err = s.Journal.SeqAt(at); err != nil {
			return nil, err
		}
	}
	if q.GetName() != "" {
		return pastOfOne(s, q.GetName(), seq, at)
	}
	p, err := s.Journal.At(seq)
	if err != nil {
		return nil, err
	}
	out := &wire.PastMachines{Seq: p.Seq, UnixNanos: nanos(p.Time)}
	ms := p.Machines
	sort.Slice(ms, func(a, b int) bool { return nameKey(ms[a].Name) < nameKey(ms[b].Name) })
	if after := nameKey(q.GetAfter()); after != "" {
		ms = ms[sort.Search(len(ms), func(i int) bool { return nameKey(ms[i].Name) > after }):]
	}
	size := 0
	for i, m := range ms {
		w := machineOnWire(s, &Seen{Machine: m}, false)
		out.Machines = append(out.Machines, w)
		if size += proto.Size(w); size >= pageBytes && i < len(ms)-1 {
			out.Next = nameKey(m.Name)
			break
		}
	}
	return out, nil
}

// pastOfOne is the machine that had a name, or an id, behind a record.
func pastOfOne(s *shared, name string, seq uint64, at time.Time) (proto.Message, error) {
	ever, err := s.Journal.ByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %q: %w", name, err)
	}
	ids := []string{name}
	for _, m := range ever {
		ids = append(ids, m.ID)
	}
	m, ok, err := thenCalled(s, ids, name, seq)
	if err != nil {
		return nil, err
	}
	if ok {
		out := &wire.PastMachines{Seq: seq, Machines: []*wire.Machine{pastOnWire(s, m)}}
		if e, err := s.Journal.Entry(seq); err == nil {
			out.UnixNanos = nanos(e.Time)
		}
		return out, nil
	}
	if len(ever) == 0 {
		return nil, refuse(wire.Code_CODE_NOT_FOUND, "arcbox journal", "no machine was ever named %q", clip(name, 80))
	}
	return nil, refuse(wire.Code_CODE_NOT_FOUND, "arcbox journal timeline "+name,
		"there was no machine %q at %s (the last one of that name was created at %s)", clip(name, 80),
		at.UTC().Format(time.RFC3339), ever[len(ever)-1].Made.Format(time.RFC3339))
}

// thenCalled is the machine of these that had a name, or an id, behind a record; where
// none had, one that has had the name at another time.
func thenCalled(s *shared, ids []string, name string, seq uint64) (found fsm.Machine, ok bool, err error) {
	for _, id := range ids {
		m, there, err := s.Journal.MachineAt(id, seq)
		if err != nil {
			return found, false, err
		}
		switch {
		case !there || m.State == fsm.Removed:
		case id == name || nameKey(m.Name) == nameKey(name):
			return m, true, nil
		default:
			found, ok = m, true
		}
	}
	return found, ok, nil
}

// pastOnWire is one machine as it was. What is owed, and where its directory
// is, is of now.
func pastOnWire(s *shared, m fsm.Machine) *wire.Machine {
	out := machineOnWire(s, &Seen{Machine: m}, false)
	launchOnWire(out, m.Launch, true)
	exitOnWire(out, m.Exit, true)
	return out
}
