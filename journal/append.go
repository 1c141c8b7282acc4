package journal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
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
		b = fsm.Record{Name: m.Name, CID: m.CID()}
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
	if r.Fact == nil || r.Fact.Kind() != r.Kind {
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

// writer is what belongs to the writing goroutine alone.
type writer struct {
	seq    uint64
	hash   hash
	ahead  map[string]fsm.Machine // changed by the batch under way
	undo   []undo
	stale  *stale
	pruned time.Time
}

type undo struct {
	id  string
	was fsm.Machine
	had bool
}

// A batch takes at most this much, so that it stays far below a memtable.
const (
	batchRecords = 1024
	batchBytes   = 1 << 20
)

// write is the writer: one batch, one sync, one answer to everyone in it.
func (j *Journal) write() {
	defer close(j.ended)
	var reqs []*request
	for first := range j.queue {
		reqs = j.gather(append(reqs[:0], first))
		j.commit(reqs)
		for _, r := range reqs {
			close(r.done)
		}
	}
}

// gather adds what else is queued.
func (j *Journal) gather(reqs []*request) []*request {
	n, size := reqs[0].weight()
	for n < batchRecords && size < batchBytes {
		select {
		case r, ok := <-j.queue:
			if !ok {
				return reqs
			}
			reqs = append(reqs, r)
			rn, rs := r.weight()
			n, size = n+rn, size+rs
		default:
			return reqs
		}
	}
	return reqs
}

func (r *request) weight() (records, bytes int) {
	for _, v := range r.values {
		bytes += len(v)
	}
	return len(r.values), bytes
}

// commit admits what Table 1 allows, syncs it and publishes it.
func (j *Journal) commit(reqs []*request) {
	now := j.o.Now().Round(0).UTC()
	b := j.db.NewBatch()
	defer func() { _ = b.Close() }()
	before := j.w.seq
	for _, r := range reqs {
		r.err = j.admit(r, now)
		if r.err != nil {
			continue
		}
		if err := j.put(b, r, now); err != nil {
			j.o.fatal(fmt.Errorf("journal: %w", err)) // the fold is ahead of the batch
		}
	}
	if j.w.seq == before {
		return
	}
	if err := j.refresh(b); err != nil {
		j.o.fatal(fmt.Errorf("journal: %w", err))
	}
	j.keepBallast()
	j.sync(b)
	j.publish()
	if now.Sub(j.w.pruned) > keep24h {
		if err := j.prune(); err != nil {
			j.o.Log.Warn("journal", "err", err)
		}
	}
}

// admit folds the records of a request in, all or none.
func (j *Journal) admit(req *request, now time.Time) error {
	j.w.undo = j.w.undo[:0]
	for i := range req.recs {
		r := &req.recs[i]
		r.Seq, r.Time = j.w.seq+uint64(i)+1, now
		if r.Machine == "" {
			continue
		}
		m, err := j.ahead(r.Machine, req.keys[i])
		if err == nil {
			m, err = m.Apply(*r)
		}
		if err != nil {
			for _, u := range slices.Backward(j.w.undo) {
				if j.w.ahead[u.id] = u.was; !u.had {
					delete(j.w.ahead, u.id)
				}
			}
			return err
		}
		was, had := j.w.ahead[m.ID]
		j.w.undo = append(j.w.undo, undo{m.ID, was, had})
		j.w.ahead[m.ID] = m
	}
	return nil
}

// ahead is a machine with all that is in the batch under way. Only a machine
// that is not there costs a look at the disk: it may have been removed.
func (j *Journal) ahead(id string, k machineKey) (fsm.Machine, error) {
	if m, ok := j.w.ahead[id]; ok {
		return m, nil
	}
	if m, ok := j.machines[id]; ok { // no one else writes to it
		return m, nil
	}
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: keyIndex(k, 0), UpperBound: append(keyIndex(k, ^uint64(0)), 0)})
	if err != nil {
		return fsm.Machine{}, fmt.Errorf("look for machine %s: %w", id, err)
	}
	m := fsm.Machine{}
	if it.First() {
		m.ID, m.State = id, fsm.Removed
	}
	if err := it.Close(); err != nil {
		return fsm.Machine{}, fmt.Errorf("look for machine %s: %w", id, err)
	}
	return m, nil
}

// put adds an admitted request to the batch.
func (j *Journal) put(b *pebble.Batch, req *request, now time.Time) error {
	for i, r := range req.recs {
		j.w.hash = seal(req.values[i], r.Seq, now, j.w.hash)
		j.w.seq = r.Seq
		if err := putRecord(b, r, req.keys[i], req.values[i]); err != nil {
			return err
		}
		if r.Machine != "" {
			j.w.stale.add(r.Machine, r.Seq)
		}
	}
	return nil
}

// putRecord sets every key that a record has.
func putRecord(b *pebble.Batch, r fsm.Record, k machineKey, v []byte) error {
	err := errors.Join(b.Set(keyRecord(r.Seq), v, nil), b.Set(keyIndex(k, r.Seq), nil, nil))
	if r.Kind == fsm.KindCreated {
		err = errors.Join(err, b.Set(keyName(r.Name, k), nil, nil))
	}
	if r.Request != "" {
		o := Outcome{Seq: r.Seq, Machine: r.Machine, Kind: r.Kind, Time: r.Time}
		err = errors.Join(err, b.Set(keyRequest(r.Principal, r.Request), encodeOutcome(o, k), nil))
	}
	return err
}

// refresh writes the snapshots that lag too far, and the new end.
func (j *Journal) refresh(b *pebble.Batch) error {
	for {
		s, ok := j.w.stale.pop(j.w.seq)
		if !ok {
			break
		}
		if err := j.putSnapshot(b, s); err != nil {
			return err
		}
	}
	return b.Set(keyLast, end{j.w.seq, j.w.hash, j.w.stale.tail(j.w.seq)}.encode(), nil)
}

func (j *Journal) putSnapshot(b *pebble.Batch, s staleMachine) error {
	k, _ := parseMachine(s.id)
	if s.gone {
		return b.Delete(keySnapshot(k), nil)
	}
	m, err := j.ahead(s.id, k)
	if err != nil {
		return err
	}
	if m.State == fsm.Removed {
		m = fsm.Machine{ID: s.id, State: fsm.Removed, Seq: j.w.seq}
		j.w.stale.bury(s.id, j.w.seq)
	}
	v, err := encodeSnapshot(m)
	if err != nil {
		return err
	}
	return b.Set(keySnapshot(k), v, nil)
}

// snapshotAll leaves no tail behind.
func (j *Journal) snapshotAll() error {
	if len(j.w.stale.queue) == 0 {
		return nil
	}
	b := j.db.NewBatch()
	defer func() { _ = b.Close() }()
	for _, s := range j.w.stale.queue {
		if _, ok := j.machines[s.id]; !ok {
			s.gone = true // removed, and with no tail it may go at once
		}
		if err := j.putSnapshot(b, s); err != nil {
			return err
		}
	}
	j.w.stale = newStale()
	if err := b.Set(keyLast, end{j.w.seq, j.w.hash, j.w.seq + 1}.encode(), nil); err != nil {
		return err
	}
	return j.db.Apply(b, pebble.Sync)
}

// sync makes a batch durable, or ends the process.
func (j *Journal) sync(b *pebble.Batch) {
	began := j.o.Now()
	j.syncing.Store(&began)
	if err := j.db.Apply(b, pebble.Sync); err != nil {
		j.o.fatal(fmt.Errorf("journal: commit: %w", err))
	}
	j.syncing.Store(nil)
	if err := j.head.write(j.w.seq, j.w.hash); err != nil {
		j.o.fatal(fmt.Errorf("journal: %w", err))
	}
}

// publish lets readers see the batch.
func (j *Journal) publish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, m := range j.w.ahead {
		if m.State == fsm.Removed {
			delete(j.machines, id)
		} else {
			j.machines[id] = m
		}
	}
	clear(j.w.ahead)
	j.durable.Store(j.w.seq)
	close(j.news)
	j.news = make(chan struct{})
}
