package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// Report is what Verify found.
type Report struct {
	First, Last uint64 // the stretch that was looked at
	Records     uint64 // that could be read
	Lost        uint64 // gravestones, which an earlier recover put where it lost a record
	Faults      []Fault
}

// Fault is one thing that is not as it should be.
type Fault struct {
	Seq     uint64 // 0 where it concerns no record
	Machine string
	What    string
}

// maxFaults bounds a report; the rest is not better than the beginning.
const maxFaults = 1000

// verifyReserve is memory that Verify asks for and never touches. The collector comes
// when the heap has doubled, and an engine's is so small that a million records would
// have it come ninety times; with this it comes about thirty times, and the garbage
// that lies around meanwhile may be that much more. It is Verify's own, and gone with
// it, where the collector's settings are the whole process's.
const verifyReserve = 16 << 20

// manyRecords are worth the reserve: a short journal is read before it pays.
const manyRecords = 100_000

// verification is one Verify under way.
type verification struct {
	source    // as it was when Verify began
	now       time.Time
	ctx       context.Context
	end       end
	rep       Report
	fold      *fold
	claims    claims
	snapshots map[string]snapshot
	due       map[uint64]bool // the records that snapshots are of
	before    hash
	chained   bool // the record before could be read
	seed      maphash.Seed
	listed    uint64             // a sum in any order: what m/ must hold
	names     map[string]string  // keys of x/name/ that there must be, and whose they are
	asked     map[string]Outcome // keys of q/ that there must be
	newest    time.Time          // of all records
	oddKeys   [][]byte           // among the records
	marks     []checkpoint       // that are still to come
	dates     dates              // since the last one
	unread    uint64             // the last record that can't be read
}

type snapshot struct {
	seq   uint64
	value []byte
}

// Verify reads every record that was durable when it began, and holds against
// each other: sequence numbers, hash chain, encoding, Table 1, that no two
// machines have one name or CID at a time, the indexes of machines, names and
// requests, the snapshots, what an opening engine would make of them, and the
// end. It returns an error only where it could not go on. Appends may go on
// meanwhile.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	leave, err := j.enter()
	if err != nil {
		return Report{}, err
	}
	defer leave()
	moment := j.db.NewSnapshot()
	defer func() { _ = moment.Close() }()
	v := &verification{
		source: source{reader: moment}, now: j.o.Now(), ctx: ctx, fold: newFold(), claims: newClaims(), snapshots: map[string]snapshot{}, due: map[uint64]bool{},
		chained: true, seed: maphash.MakeSeed(), names: map[string]string{}, asked: map[string]Outcome{},
	}
	if err := v.readEnd(); err != nil {
		return v.rep, fmt.Errorf("verify: %w", err)
	}
	if err := j.await(ctx, v.end.seq); err != nil {
		return v.rep, fmt.Errorf("verify: %w", err)
	}
	if v.end.seq >= manyRecords {
		reserve := make([]byte, verifyReserve)
		defer runtime.KeepAlive(reserve)
	}
	v.readSnapshots()
	if err := v.readCheckpoints(); err != nil {
		return v.rep, fmt.Errorf("verify: %w", err)
	}
	v.odd = func(k []byte) { v.oddKeys = append(v.oddKeys, bytes.Clone(k)) }
	others := make(chan *keys, 1)
	go func() { others <- readKeys(ctx, v.source, v.seed, v.end.seq) }()
	err = v.decoded(ctx, 1, v.end.seq, func(it *item) error {
		v.record(it)
		return v.checkpointsUpto(it.upto)
	})
	ks := <-others
	if err == nil {
		err = v.keys(ks)
	}
	if err == nil {
		err = v.opened()
	}
	if err != nil {
		return v.rep, fmt.Errorf("verify: %w", err)
	}
	return v.rep, nil
}

// await returns when a record is durable.
func (j *Journal) await(ctx context.Context, seq uint64) error {
	for {
		news := j.Changed()
		if j.durable.Load() >= seq {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-j.ended: // by a disk error
			return ErrClosed
		}
	}
}

func (v *verification) fault(seq uint64, machine, format string, args ...any) {
	if len(v.rep.Faults) < maxFaults {
		v.rep.Faults = append(v.rep.Faults, Fault{seq, machine, inLine(fmt.Errorf(format, args...))})
	}
}

// readEnd reads where the journal ends. That the last record is there, the scan
// will tell.
func (v *verification) readEnd() error {
	v.end.tail = 1
	val, err := v.get(keyLast)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil // nothing was ever appended
	}
	if err != nil {
		return err
	}
	if v.end, err = decodeEnd(val); err != nil {
		return err
	}
	if v.end.tail == 0 || v.end.tail > v.end.seq+1 {
		v.fault(v.end.seq, "", "x/last says that the tail starts at %d", v.end.tail)
		v.end.tail = 1
	}
	v.rep.First, v.rep.Last = min(1, v.end.seq), v.end.seq
	return nil
}

func (v *verification) record(s *item) {
	if s.read {
		if v.chained && (len(s.value) < hashSize || !bytes.Equal(s.value[len(s.value)-hashSize:], v.before[:])) {
			v.fault(s.seq, "", "the hash that it holds of the record before is not that record's")
		}
		v.before, v.chained = s.sum, true
		if s.seq == v.end.seq && v.before != v.end.hash {
			v.fault(s.seq, "", "x/last has another hash of the last record")
		}
	} else {
		v.chained = false
	}
	if s.err != nil {
		v.unreadable(s.stored)
		return
	}
	r := s.rec
	v.rep.Records++
	if engine := r.Kind == fsm.KindEngineStarted || r.Kind == fsm.KindEngineStopped; engine != (r.Machine == "") || r.To != kinds[r.Kind] {
		v.fault(r.Seq, r.Machine, "%s of machine %q leads to %q, which is not what Append writes", r.Kind, r.Machine, r.To)
	}
	k := s.key
	v.listed += v.sum(k, r.Seq)
	if err := v.fold.record(r); err != nil {
		v.fault(r.Seq, r.Machine, "%v", err)
	}
	if m := v.fold.machines[r.Machine]; m != nil && (fsm.Claims(r.Kind) || m.Damaged) { // nothing else claims or gives up
		v.claim(r.Seq, m)
	}
	if v.due[r.Seq] {
		v.compare(k, r.Seq)
	}
	if names(r.Kind) {
		v.names[string(keyName(r.Name, k))] = r.Machine
	}
	if r.Request != "" && v.now.Sub(r.Time) <= keep24h {
		v.asked[string(keyRequest(r.Principal, r.Request))] = Outcome{r.Seq, r.Machine, r.Kind, r.Time}
	}
	v.dates.add(r.Seq, r.Time.UnixNano())
	if r.Time.After(v.newest) {
		v.newest = r.Time
	}
}

// claim holds the name and the CID of a record's machine against those of the
// others.
func (v *verification) claim(seq uint64, m *fsm.Machine) {
	v.claims.set(m, func(what claim, other string) {
		v.fault(seq, m.ID, "%s is machine %s's already", what, other)
	})
}

func (v *verification) unreadable(s stored) {
	v.unread = s.upto
	lost, err := v.lost(s)
	if err != nil {
		v.fault(s.seq, "", "index: %v", err)
	}
	for _, l := range lost {
		known := !errors.Is(l.Unreadable, errUnknownMachine)
		v.fold.lose(l.Seq, l.Machine, known)
		if k, _ := parseMachine(l.Machine); known {
			v.listed += v.sum(k, l.Seq)
			v.claims.drop(l.Machine)
			v.compare(k, l.Seq)
		} else {
			v.claims = newClaims() // each of them may have been given up
		}
		for id := range v.snapshots {
			if k, ok := parseMachine(id); ok && !known {
				v.compare(k, l.Seq)
			}
		}
		if errors.Is(l.Unreadable, errLost) {
			v.rep.Lost++
		} else {
			v.fault(l.Seq, l.Machine, "%v", l.Unreadable)
		}
	}
}

func (v *verification) sum(k machineKey, seq uint64) uint64 {
	return maphash.Bytes(v.seed, keyIndex(k, seq))
}
