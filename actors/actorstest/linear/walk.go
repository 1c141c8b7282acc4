package linear

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// Walk checks a whole journal in its order: no name and no CID has two holders,
// and no request is in it twice.
func Walk(records []*wire.Record) error {
	w := walk{names: map[string]string{}, cids: map[uint32]string{}, holds: map[string]uint32{}, asked: map[string]uint64{}}
	for _, r := range records {
		w.record(r)
	}
	return errors.Join(w.faults...)
}

type walk struct {
	names  map[string]string // machine by name
	cids   map[uint32]string // machine by CID
	holds  map[string]uint32 // CID by machine
	asked  map[string]uint64 // record by request
	faults []error
}

func (w *walk) fault(r *wire.Record, format string, args ...any) {
	w.faults = append(w.faults, fmt.Errorf("record %d, %s of %s %s: %s", r.Seq, r.Kind, r.Name, tail(r.Machine), fmt.Sprintf(format, args...)))
}

func (w *walk) record(r *wire.Record) {
	if r.Request != "" {
		if was := w.asked[r.Principal+"/"+r.Request]; was != 0 {
			w.fault(r, "request %s was carried out by record %d", r.Request, was)
		}
		w.asked[r.Principal+"/"+r.Request] = r.Seq
	}
	switch r.Kind {
	case "created":
		if other, taken := w.names[key(r.Name)]; taken {
			w.fault(r, "the name is that of %s", tail(other))
		}
		w.names[key(r.Name)] = r.Machine
	case "renamed":
		w.leave(r.Machine)
		if other, taken := w.names[key(r.Name)]; taken {
			w.fault(r, "the name is that of %s", tail(other))
		}
		w.names[key(r.Name)] = r.Machine
	case "removed":
		w.leave(r.Machine)
		w.free(r.Machine)
	case "start-requested", "relaunched", "stray-found":
		w.free(r.Machine)
		if other, taken := w.cids[r.Cid]; taken {
			w.fault(r, "CID %d is held by %s", r.Cid, tail(other))
		}
		w.cids[r.Cid], w.holds[r.Machine] = r.Machine, r.Cid
	case "exited", "repaired", "stray-gone":
		w.free(r.Machine)
	}
}

// leave frees a machine's name.
func (w *walk) leave(machine string) {
	maps.DeleteFunc(w.names, func(_, holder string) bool { return holder == machine })
}

func (w *walk) free(machine string) {
	if cid, ok := w.holds[machine]; ok {
		delete(w.cids, cid)
		delete(w.holds, machine)
	}
}

// Records is the whole history of an engine.
func Records(ctx context.Context, c *client.Client) ([]*wire.Record, error) {
	var all []*wire.Record
	after := uint64(1) // record 1 is the first engine's start; 0 would mean the newest
	for {
		part, err := client.Call[*wire.Records](ctx, c, &wire.QueryJournal{After: after})
		if err != nil || len(part.GetRecords()) == 0 {
			return all, err
		}
		all = append(all, part.GetRecords()...)
		after = all[len(all)-1].GetSeq()
	}
}
