package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// Last is the sequence number of the last durable record, 0 where there is none.
func (j *Journal) Last() uint64 { return j.durable.Load() }

// Changed returns a channel that is closed at the next durable append, or by
// Close. Who gets it before a Query misses nothing between the two.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.news
}

// Machines is every machine but the removed ones, as folded from all durable
// records, sorted by id.
func (j *Journal) Machines() []fsm.Machine {
	j.mu.RLock()
	ms := make([]fsm.Machine, 0, len(j.machines))
	for _, m := range j.machines {
		ms = append(ms, *m)
	}
	j.mu.RUnlock()
	slices.SortFunc(ms, func(a, b fsm.Machine) int { return strings.Compare(a.ID, b.ID) })
	return ms
}

// Machine is one machine, also a removed one, as folded from all durable records.
func (j *Journal) Machine(id string) (fsm.Machine, bool) {
	j.mu.RLock()
	live := j.machines[id]
	j.mu.RUnlock()
	if live != nil {
		return *live, true
	}
	k, valid := parseMachine(id)
	if !valid || id == "" {
		return fsm.Machine{}, false
	}
	leave, err := j.enter()
	if err != nil {
		return fsm.Machine{}, false
	}
	defer leave()
	m, err := j.refold(k)
	if err != nil {
		j.o.Log.Error("journal: read a machine", "machine", id, "err", inLine(err))
	}
	return m, m.ID != ""
}

// refold folds one machine from its records.
func (j *Journal) refold(k machineKey) (fsm.Machine, error) {
	f, id := newFold(), machineID(k)
	seqs, err := j.index(k, 0, j.durable.Load())
	j.foldEntries(f, id, seqs)
	return f.machine(id), err
}

// ByName is every machine that ever had a name, compared without case, removed
// ones too, newest last.
func (j *Journal) ByName(name string) ([]fsm.Machine, error) {
	keys, err := j.named(name)
	if err != nil {
		return nil, fmt.Errorf("look for machines named %q: %w", name, err)
	}
	var ms []fsm.Machine
	for _, k := range keys {
		if m, ok := j.Machine(machineID(k)); ok { // else its created is not durable yet
			ms = append(ms, m)
		}
	}
	slices.SortStableFunc(ms, func(a, b fsm.Machine) int { return a.Made.Compare(b.Made) })
	return ms, nil
}

func (j *Journal) named(name string) (keys []machineKey, err error) {
	leave, err := j.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	prefix := namePrefix(name)
	err = j.each(prefix, func(k, _ []byte) error {
		if id := k[len(prefix):]; len(id) == len(machineKey{}) {
			keys = append(keys, machineKey(id))
		}
		return nil
	})
	return keys, err
}

// Request is what a request of the last 24 hours led to. Of several records
// with one request id the last one counts.
func (j *Journal) Request(principal, id string) (Outcome, bool) {
	leave, err := j.enter()
	if err != nil {
		return Outcome{}, false
	}
	defer leave()
	v, err := j.get(keyRequest(principal, id))
	if err != nil {
		return Outcome{}, false
	}
	o, ok := decodeOutcome(v)
	if !ok || o.Seq > j.durable.Load() || j.o.Now().Sub(o.Time) > keep24h {
		return Outcome{}, false
	}
	return o, true
}

// MaxQuery is the most entries that one Query returns.
const MaxQuery = 10_000

// Query says which entries to return. The zero value is the first MaxQuery.
type Query struct {
	Machine string     // id; "" = all, the engine's own records too
	Engine  bool       // only the engine's own, as the index lists them; Machine is ""
	Kinds   []fsm.Kind // nil = all
	Since   time.Time
	After   uint64 // only records behind this one
	Before  uint64 // only records before this one; 0 = all
	Limit   int    // 0 or more than MaxQuery = MaxQuery: go on behind the last entry
	Newest  bool   // the last Limit that match, still the oldest first
	// BackTo ends Newest of a machine: no record before the newest of these kinds.
	BackTo []fsm.Kind
}

// Entry is one record of the history.
type Entry struct {
	fsm.Record
	// Unreadable is why the record can't be read. Then only Seq and Machine are
	// known. Such an entry passes every filter but Machine and After.
	Unreadable error
	// Size is how many bytes are stored of it, where Scan read all records.
	Size int
}

// Query returns entries in order, up to the last durable one.
func (j *Journal) Query(q Query) ([]Entry, error) {
	leave, err := j.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if q.Limit <= 0 || q.Limit > MaxQuery {
		q.Limit = MaxQuery
	}
	if q.Machine != "" || q.Engine {
		return j.queryMachine(q)
	}
	return j.queryAll(q)
}

// upto is the last record that a query may return.
func (j *Journal) upto(q Query) uint64 {
	last := j.durable.Load()
	if q.Before > 0 {
		last = min(last, q.Before-1)
	}
	return last
}

func (q *Query) match(e Entry) bool {
	return e.Unreadable != nil ||
		(len(q.Kinds) == 0 || slices.Contains(q.Kinds, e.Kind)) && (q.Since.IsZero() || !e.Time.Before(q.Since))
}

func (j *Journal) queryMachine(q Query) ([]Entry, error) {
	k, ok := parseMachine(q.Machine)
	if !ok {
		return nil, fmt.Errorf("query: machine id %q is not a UUID in its usual form", q.Machine)
	}
	it, err := j.indexed(k, q.After, j.upto(q))
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	first, next := it.First, it.Next
	if q.Newest {
		first, next = it.Last, it.Prev
	}
	var es []Entry
	for ok := first(); ok && len(es) < q.Limit; ok = next() {
		_, seq, kind := keyOf(it.Key())
		if kind != indexKey || seq <= q.After {
			continue
		}
		e := j.entry(seq, q.Machine)
		if q.match(e) {
			es = append(es, e)
		}
		if q.Newest && slices.Contains(q.BackTo, e.Kind) {
			break
		}
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("query: read the index of machine %s: %w", q.Machine, err)
	}
	if q.Newest {
		slices.Reverse(es)
	}
	return es, nil
}

// queryAll looks through windows, forwards or, for the newest, backwards.
func (j *Journal) queryAll(q Query) ([]Entry, error) {
	const window = 1024
	var es []Entry
	lo, hi := q.After+1, j.upto(q)
	for lo <= hi && lo > 0 && len(es) < q.Limit {
		from, to := lo, min(hi, lo+window-1)
		if q.Newest {
			from, to = max(lo, hi-min(hi, window)+1), hi
		}
		part, err := j.window(q, from, to)
		if err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		if q.Newest {
			es, hi = append(part, es...), from-1
		} else {
			es, lo = append(es, part...), to+1
		}
	}
	if n := len(es) - q.Limit; n > 0 && q.Newest {
		es = es[n:]
	}
	return es[:min(len(es), q.Limit)], nil
}

func (j *Journal) window(q Query, from, to uint64) ([]Entry, error) {
	var es []Entry
	err := j.scan(from, to, func(s stored) error {
		if s.err == nil {
			if !q.Since.IsZero() && len(s.value) >= headerSize && timeOf(s.value).Before(q.Since) {
				return nil
			}
			var r fsm.Record
			if r, s.err = decode(s.seq, s.value); s.err == nil {
				if e := (Entry{Record: r}); q.match(e) {
					es = append(es, e)
				}
				return nil
			}
		}
		lost, err := j.lost(s)
		es = append(es, lost...)
		return err
	})
	return es, err
}

// index lists a machine's records behind one and up to another.
func (j *Journal) index(k machineKey, behind, upto uint64) ([]uint64, error) {
	var seqs []uint64
	it, err := j.indexed(k, behind, upto)
	if err != nil {
		return nil, err
	}
	for it.First(); it.Valid(); it.Next() {
		if _, seq, kind := keyOf(it.Key()); kind == indexKey && seq > behind {
			seqs = append(seqs, seq)
		}
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read the index of machine %s: %w", machineID(k), err)
	}
	return seqs, nil
}

// indexed goes through the index of a machine's records, from one to another.
func (j *Journal) indexed(k machineKey, from, upto uint64) (*pebble.Iterator, error) {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: keyIndex(k, from), UpperBound: append(keyIndex(k, upto), 0)})
	if err != nil {
		return nil, fmt.Errorf("read the index of machine %s: %w", machineID(k), err)
	}
	return it, nil
}

// Entry is one record, whoever it is of.
func (j *Journal) Entry(seq uint64) (Entry, error) {
	leave, err := j.enter()
	if err != nil {
		return Entry{}, err
	}
	defer leave()
	if seq == 0 || seq > j.durable.Load() {
		return Entry{}, fmt.Errorf("record %d: %w", seq, errMissing)
	}
	v, err := j.get(keyRecord(seq))
	if err != nil {
		return Entry{}, fmt.Errorf("record %d: %w", seq, err)
	}
	r, err := decode(seq, v)
	return Entry{Record: r, Unreadable: err}, nil
}

// entry reads one record of a machine.
func (j *Journal) entry(seq uint64, id string) Entry {
	var r fsm.Record
	v, err := j.get(keyRecord(seq))
	if errors.Is(err, pebble.ErrNotFound) {
		err = errMissing
	}
	if err == nil {
		r, err = decode(seq, v)
	}
	if err == nil && r.Machine != id {
		err = fmt.Errorf("it is of machine %q", r.Machine)
	}
	if err != nil {
		return Entry{Record: fsm.Record{Seq: seq, Machine: id}, Unreadable: err}
	}
	return Entry{Record: r}
}
