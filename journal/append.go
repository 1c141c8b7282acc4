package journal

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// request is one Append on its way through the writer.
type request struct {
	recs   []fsm.Record
	keys   []machineKey
	values [][]byte
	err    error
	done   chan struct{}
}

// Append writes records as one atomic batch and returns them, with Seq and
// Time, when they are synced. Those that move a state get the To that Table 1
// gives, and where they claim no name or CID, those of their machine. A record
// that Table 1 forbids refuses them all with an fsm.ErrIllegal, one that is not
// well-formed with an ErrInvalid; then nothing is written. The payloads belong
// to the journal afterwards and must not be changed.
func (j *Journal) Append(recs ...fsm.Record) ([]fsm.Record, error) {
	leave, err := j.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if j.readOnly {
		return nil, ErrReadOnly
	}
	if len(recs) == 0 {
		return nil, nil
	}
	req := &request{recs: slices.Clone(recs), done: make(chan struct{})}
	if err := j.encodeAll(req); err != nil {
		return nil, err
	}
	select {
	case j.queue <- req:
	case <-j.ended:
		return nil, ErrClosed
	}
	select {
	case <-req.done:
	case <-j.ended: // by a disk error
		return nil, ErrClosed
	}
	if req.err != nil {
		return nil, req.err
	}
	return req.recs, nil
}

// encodeAll does in the caller's goroutine what does not need the writer.
func (j *Journal) encodeAll(req *request) error {
	claims := map[string]fsm.Record{}
	for i := range req.recs {
		r := &req.recs[i]
		k, err := j.check(r)
		if err != nil {
			return err
		}
		if fsm.Moves(r.Kind) {
			j.claim(r, claims)
		}
		v, err := encode(*r, k)
		if err != nil {
			return err
		}
		req.keys, req.values = append(req.keys, k), append(req.values, v)
	}
	return nil
}

// claim completes a record that moves a state: by such records alone a fold
// resumes behind a damaged stretch.
func (j *Journal) claim(r *fsm.Record, before map[string]fsm.Record) {
	b, ok := before[r.Machine]
	if !ok {
		j.mu.RLock()
		m := j.machines[r.Machine]
		j.mu.RUnlock()
		if m != nil {
			b = fsm.Record{Name: m.Name, CID: m.CID()}
		}
	}
	if r.Name == "" {
		r.Name = b.Name
	}
	if r.CID == 0 {
		r.CID = b.CID
	}
	before[r.Machine] = *r
}

// check refuses what is not well-formed, and fills in the To of the table.
func (j *Journal) check(r *fsm.Record) (machineKey, error) {
	k, ok := parseMachine(r.Machine)
	if !ok {
		return k, fmt.Errorf("%w: machine id %q of %s is not a UUID in its usual form", ErrInvalid, r.Machine, r.Kind)
	}
	known := fsm.NewFact(r.Kind)
	if known == nil {
		return k, fmt.Errorf("%w: kind %q is not known", ErrInvalid, r.Kind)
	}
	if r.Fact == nil || r.Fact.Kind() != r.Kind || reflect.ValueOf(r.Fact).IsNil() {
		return k, fmt.Errorf("%w: %s needs a payload of type %T, not %T", ErrInvalid, r.Kind, known, r.Fact)
	}
	if engine := r.Kind == fsm.KindEngineStarted || r.Kind == fsm.KindEngineStopped; engine != (r.Machine == "") {
		return k, fmt.Errorf("%w: %s of machine %q: the engine's own kinds, and no others, have no machine", ErrInvalid, r.Kind, r.Machine)
	}
	texts := []struct{ field, value string }{
		{"name", r.Name}, {"principal", r.Principal}, {"reason", string(r.Reason)}, {"request", r.Request}, {"launch", r.Launch},
	}
	for _, t := range texts {
		if len(t.value) > MaxText {
			return k, fmt.Errorf("%w: %s of %s is %d bytes long, at most %d are allowed", ErrInvalid, t.field, r.Kind, len(t.value), MaxText)
		}
	}
	to := leadsTo(r.Kind)
	if r.To != fsm.None && r.To != to {
		return k, fmt.Errorf("%w: %s leads to %q, not to %q", fsm.ErrIllegal, r.Kind, to, r.To)
	}
	r.To = to
	return k, nil
}

func leadsTo(k fsm.Kind) fsm.State {
	for _, t := range fsm.Transitions {
		if t.Kind == k {
			return t.To
		}
	}
	return fsm.None
}
