package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// writer is what belongs to the writing goroutine alone. It is ahead of what is
// durable by the batches under way.
type writer struct {
	seq     uint64
	hash    hash
	now     map[string]*fsm.Machine // as Journal.machines; the values are shared and never change
	changed []*fsm.Machine          // by the batch under way
	undo    []undo
	stale   *stale
	mark    uint64    // the last record that a checkpoint holds
	pruned  time.Time // requests
	looked  time.Time // at the free space
}

type undo struct {
	id  string
	was *fsm.Machine
}

// applied is a batch that Pebble has taken and is about to sync.
type applied struct {
	batch   *pebble.Batch // nil where every request was refused
	seq     uint64
	hash    hash
	changed []*fsm.Machine // in the order of their records
	reqs    []*request
}

// A batch takes at most this much, so that it stays far below a memtable.
const (
	batchRecords = 1024
	batchBytes   = 1 << 20
)

// write makes batches while settle syncs the ones before.
func (j *Journal) write() {
	defer close(j.marks)
	defer close(j.applied)
	for first := range j.queue {
		reqs := j.gather([]*request{first})
		a := j.apply(reqs)
		select {
		case j.applied <- a:
		case <-j.ended: // by a disk error
			return
		}
	}
}

// settle makes batches durable, publishes them and answers, in their order.
func (j *Journal) settle() {
	defer close(j.ended)
	for a := range j.applied {
		if a.batch != nil {
			j.sync(a)
			j.publish(a)
		}
		for _, r := range a.reqs {
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

func (r *request) weight() (records, bytes int) { return len(r.recs), r.buf.Len() }

// apply admits what Table 1 allows and hands it to Pebble.
func (j *Journal) apply(reqs []*request) *applied {
	now := j.o.Now().Round(0).UTC()
	b := j.db.NewBatch()
	before := j.w.seq
	j.w.changed = make([]*fsm.Machine, 0, len(reqs))
	for _, r := range reqs {
		if r.err = j.admit(r, now); r.err != nil {
			continue
		}
		if err := j.put(b, r, now); err != nil {
			j.o.fatal(fmt.Errorf("journal: %w", err)) // the fold is ahead of the batch
		}
	}
	a := &applied{b, j.w.seq, j.w.hash, j.w.changed, reqs}
	if j.w.seq == before {
		_ = b.Close() // nothing is in it
		a.batch = nil
		return a
	}
	j.hand(b)
	j.takeCheckpoint()
	j.tend(now)
	return a
}

// hand gives a batch to Pebble, which begins to sync it. settle waits for that,
// so that this goroutine can go on to the next batch.
//
// NB: ApplyNoSyncWait is marked as experimental in Pebble v2.1.7; it is how
// CockroachDB pipelines its log. Without it an append takes a fifth longer.
func (j *Journal) hand(b *pebble.Batch) {
	err := j.refresh(b)
	if err == nil {
		defer j.busy(&j.applying)()
		err = j.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err != nil {
		j.o.fatal(fmt.Errorf("journal: commit: %w", err))
	}
	for _, m := range j.w.changed {
		if m.State == fsm.Removed {
			delete(j.w.now, m.ID) // from here on machine finds it in the index
		}
	}
}

// tend does now and then what no append waits for.
func (j *Journal) tend(now time.Time) {
	if now.Sub(j.w.looked).Abs() > 100*time.Millisecond {
		j.w.looked = now
		j.keepBallast()
	}
	if now.Sub(j.w.pruned) > keep24h {
		j.prune()
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
		was, err := j.machine(r.Machine, req.keys[i])
		var m fsm.Machine
		if err == nil {
			m, err = was.Apply(*r)
		}
		if err != nil {
			j.takeBack()
			return err
		}
		j.w.undo = append(j.w.undo, undo{r.Machine, j.w.now[r.Machine]})
		j.w.now[r.Machine] = &m
	}
	for _, u := range j.w.undo {
		j.w.changed = append(j.w.changed, j.w.now[u.id])
	}
	return nil
}

func (j *Journal) takeBack() {
	for _, u := range slices.Backward(j.w.undo) {
		if j.w.now[u.id] = u.was; u.was == nil {
			delete(j.w.now, u.id)
		}
	}
}

// machine is a machine with all records so far. Only one that is not there
// costs a look at the disk: it may have been removed.
func (j *Journal) machine(id string, k machineKey) (*fsm.Machine, error) {
	if m := j.w.now[id]; m != nil {
		return m, nil
	}
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: keyIndex(k, 0), UpperBound: append(keyIndex(k, ^uint64(0)), 0)})
	if err != nil {
		return nil, fmt.Errorf("look for machine %s: %w", id, err)
	}
	m := &fsm.Machine{}
	if it.First() {
		m.ID, m.State = id, fsm.Removed
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("look for machine %s: %w", id, err)
	}
	return m, nil
}

// put adds an admitted request to the batch.
func (j *Journal) put(b *pebble.Batch, req *request, now time.Time) error {
	for i, r := range req.recs {
		v := req.value(i)
		j.w.hash = seal(v, r.Seq, now, j.w.hash)
		j.w.seq = r.Seq
		if err := putRecord(b, r, req.keys[i], v); err != nil {
			return err
		}
		if r.Machine != "" {
			j.w.stale.add(r.Machine, r.Seq)
		}
	}
	return nil
}

// names tells whether records of this kind give their machine a name.
func names(k fsm.Kind) bool { return k == fsm.KindCreated || k == fsm.KindRenamed }

// putRecord sets every key that a record has.
func putRecord(b *pebble.Batch, r fsm.Record, k machineKey, v []byte) error {
	err := errors.Join(b.Set(keyRecord(r.Seq), v, nil), b.Set(keyIndex(k, r.Seq), nil, nil))
	if names(r.Kind) {
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
	m := j.w.now[s.id]
	if m == nil || m.State == fsm.Removed {
		m = &fsm.Machine{ID: s.id, State: fsm.Removed, Seq: j.w.seq}
		j.w.stale.bury(s.id, j.w.seq)
	}
	v, err := encodeSnapshot(*m)
	if err != nil {
		return err
	}
	return b.Set(keySnapshot(k), v, nil)
}

// snapshotAll leaves no tail behind. The writer has ended.
func (j *Journal) snapshotAll() error {
	if len(j.w.stale.queue) == 0 {
		return nil
	}
	b := j.db.NewBatch()
	defer func() { _ = b.Close() }()
	for _, s := range j.w.stale.queue {
		s.gone = j.w.now[s.id] == nil // removed, and with no tail it may go at once
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

// sync waits until a batch is durable, or ends the process.
func (j *Journal) sync(a *applied) {
	done := j.busy(&j.syncing)
	if err := errors.Join(a.batch.SyncWait(), a.batch.Close()); err != nil {
		j.o.fatal(fmt.Errorf("journal: commit: %w", err))
	}
	done()
	if err := j.head.write(a.seq, a.hash); err != nil {
		j.o.fatal(fmt.Errorf("journal: %w", err))
	}
}

// busy notes since when the disk is waited for.
func (j *Journal) busy(since *atomic.Pointer[time.Time]) (done func()) {
	now := j.o.Now()
	since.Store(&now)
	return func() { since.Store(nil) }
}

// publish lets readers see a batch.
func (j *Journal) publish(a *applied) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range a.changed {
		if m.State == fsm.Removed {
			delete(j.machines, m.ID)
		} else {
			j.machines[m.ID] = m
		}
	}
	j.durable.Store(a.seq)
	close(j.news)
	j.news = make(chan struct{})
}
