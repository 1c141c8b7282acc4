package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2"
)

// keys is what is found under all keys but those of the records, for which the
// scan looks out by itself.
type keys struct {
	indexed  uint64 // the sum of the index
	names    []named
	requests []pair
	odd      [][]byte
	behind   []uint64 // records behind the end
	marks    []pair   // keys of checkpoints
	err      error
}

type named struct {
	id, key string
}

type pair struct {
	key   string
	value []byte
	err   error
}

// readKeys reads them while others read the records.
func readKeys(ctx context.Context, src source, seed maphash.Seed, end uint64) *keys {
	ks := &keys{}
	it, err := src.reader.NewIter(nil)
	if err != nil {
		ks.err = fmt.Errorf("read all keys: %w", err)
		return ks
	}
	records := keyRecord(1)
	for ok := it.First(); ok && ctx.Err() == nil; {
		if bytes.Equal(it.Key(), records) && end > 0 {
			ok = it.SeekGE(append(keyRecord(end), 0)) // the scan sees the others
			continue
		}
		ks.add(it, seed)
		ok = it.Next()
	}
	ks.err = it.Close()
	return ks
}

func (ks *keys) add(it *pebble.Iterator, seed maphash.Seed) {
	k := it.Key()
	m, seq, kind := keyOf(k)
	switch kind {
	case recordKey:
		ks.behind = append(ks.behind, seq) // or 0, which is none
	case indexKey:
		ks.indexed += maphash.Bytes(seed, k)
	case nameKey:
		ks.names = append(ks.names, named{machineID(m), string(k)})
	case requestKey, checkpointKey:
		p := pair{key: string(k)}
		v, err := it.ValueAndErr()
		p.value, p.err = bytes.Clone(v), err
		if kind == requestKey {
			ks.requests = append(ks.requests, p)
		} else {
			ks.marks = append(ks.marks, p)
		}
	case snapshotKey, fixedKey, keptKey:
	case strangeKey:
		ks.odd = append(ks.odd, bytes.Clone(k))
	}
}

// keys holds every key against the records.
func (v *verification) keys(ks *keys) error {
	switch {
	case v.ctx.Err() != nil:
		return v.ctx.Err()
	case ks.err != nil:
		v.fault(0, "", "the keys can't all be read: %v", ks.err)
		return nil
	case v.listed != ks.indexed:
		if err := v.index(); err != nil {
			return err
		}
	}
	for _, k := range append(v.oddKeys, ks.odd...) {
		v.fault(0, "", "the key %x is none of the journal's", k)
	}
	for _, seq := range ks.behind {
		v.fault(seq, "", "it lies behind the end, which is %d", v.end.seq)
	}
	for _, n := range ks.names {
		v.nameKey(n.id, n.key)
	}
	for _, id := range v.names {
		v.fault(0, id, "the index of names lacks it")
	}
	for _, r := range ks.requests {
		if r.err != nil {
			v.fault(0, "", "request: %v", r.err)
		} else {
			v.request(r.key, r.value)
		}
	}
	for _, o := range v.asked {
		if v.newest.Sub(o.Time) <= keep24h { // else it was pruned, while the clock was ahead
			v.fault(o.Seq, o.Machine, "what its request led to is not kept")
		}
	}
	for _, m := range ks.marks {
		v.mark(m)
	}
	return nil
}

// index looks for what is wrong with the index m/, of which only the sum was
// compared.
func (v *verification) index() error {
	before := len(v.rep.Faults)
	err := v.decoded(v.ctx, 1, v.end.seq, func(it *item) error {
		if it.err != nil {
			return nil
		}
		if _, err := v.get(keyIndex(it.key, it.seq)); errors.Is(err, pebble.ErrNotFound) {
			v.fault(it.seq, it.rec.Machine, "the index m/ lacks it")
		} else if err != nil {
			v.fault(it.seq, it.rec.Machine, "the index m/: %v", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = v.each([]byte("m/"), func(k, _ []byte) error {
		m, seq, kind := keyOf(k)
		if kind != indexKey {
			return v.ctx.Err() // which is told as none of the journal's
		}
		b, err := v.get(keyRecord(seq))
		if err == nil {
			var r fsm.Record
			if r, err = decode(seq, b); err != nil {
				return v.ctx.Err() // which was told
			}
			if is, _ := parseMachine(r.Machine); is == m {
				return v.ctx.Err()
			}
		}
		if err == nil || seq == 0 || seq > v.end.seq {
			v.fault(seq, machineID(m), "the index m/ lists it as this machine's, which it is not")
		}
		return v.ctx.Err()
	})
	if err != nil {
		return err
	}
	if len(v.rep.Faults) == before {
		v.fault(0, "", "the index m/ does not list the records that there are")
	}
	return nil
}
