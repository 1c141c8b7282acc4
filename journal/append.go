package journal

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// request is one Append on its way through the writer.
type request struct {
	recs []fsm.Record
	keys []machineKey
	ends []int        // where in buf the value of each ends
	buf  bytes.Buffer // their values; used again for other requests
	err  error
	done chan struct{}
}

// requests are used again: an append allocates little but what it leaves behind.
var requests = sync.Pool{New: func() any { return new(request) }}

func newRequest(recs []fsm.Record) *request {
	r := requests.Get().(*request)
	r.recs, r.keys, r.ends, r.err, r.done = slices.Clone(recs), r.keys[:0], r.ends[:0], nil, make(chan struct{})
	r.buf.Reset()
	return r
}

// value is the value of the nth record.
func (r *request) value(n int) []byte {
	start := 0
	if n > 0 {
		start = r.ends[n-1]
	}
	return r.buf.Bytes()[start:r.ends[n]]
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
	req := newRequest(recs)
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
	recs, err = req.recs, req.err
	requests.Put(req) // settle has let go of it
	if err != nil {
		return nil, err
	}
	return recs, nil
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
		if fsm.Claims(r.Kind) {
			j.claim(r, claims)
		}
		if _, err := encode(*r, k, &req.buf); err != nil {
			return err
		}
		req.keys, req.ends = append(req.keys, k), append(req.ends, req.buf.Len())
	}
	return nil
}

// claim completes a record that moves a state, or gives another name: by such
// records alone a fold resumes behind a damaged stretch.
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
	to, known := kinds[r.Kind]
	if !known {
		return k, fmt.Errorf("%w: kind %q is not known", ErrInvalid, r.Kind)
	}
	if r.Fact == nil || r.Fact.Kind() != r.Kind || reflect.ValueOf(r.Fact).IsNil() {
		return k, fmt.Errorf("%w: %s needs a payload of type %T, not %#v", ErrInvalid, r.Kind, fsm.NewFact(r.Kind), r.Fact)
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
	if r.To != fsm.None && r.To != to {
		return k, fmt.Errorf("%w: %s leads to %q, not to %q", fsm.ErrIllegal, r.Kind, to, r.To)
	}
	r.To = to
	return k, nil
}

// kinds says where records of each kind lead.
var kinds = func() map[fsm.Kind]fsm.State {
	to := map[fsm.Kind]fsm.State{fsm.KindEngineStarted: fsm.None, fsm.KindEngineStopped: fsm.None}
	for _, t := range fsm.Transitions {
		to[t.Kind] = t.To
	}
	return to
}()
