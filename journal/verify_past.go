package journal

import (
	"bytes"
	"fmt"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// readCheckpoints notes the checkpoints, to be compared as the scan comes to
// the records that they are of.
func (v *verification) readCheckpoints() error {
	return v.source.checkpoints(v.end.seq, func(c checkpoint) error {
		v.marks = append(v.marks, c)
		return nil
	})
}

// checkpointsUpto compares the checkpoints that the scan has come to.
func (v *verification) checkpointsUpto(seq uint64) error {
	for len(v.marks) > 0 && v.marks[0].seq <= seq {
		c := v.marks[0]
		v.marks = v.marks[1:]
		v.compareDates(c)
		if c.seq == seq { // else it is within a stretch that is lost
			if err := v.compareCheckpoint(c); err != nil {
				return err
			}
		}
		v.dates = dates{}
	}
	return v.ctx.Err()
}

// compareDates holds the dates of a checkpoint against those of its records.
// What can't be read now could be when it was written.
func (v *verification) compareDates(c checkpoint) {
	if v.unread < c.from && c.dates != v.dates {
		v.fault(c.seq, "", "the checkpoint tells other dates than its records")
	}
}

// compareCheckpoint holds the folds of a checkpoint against those of all records
// up to there.
func (v *verification) compareCheckpoint(c checkpoint) error {
	n, now := uint32(0), bytes.Buffer{}
	err := v.each(keyCheckpoint(c.seq), func(k, val []byte) error {
		id, _, kind := keyOf(k)
		if kind != keptKey {
			return nil
		}
		n++
		m, known := v.fold.machines[machineID(id)]
		if !known || m.State == fsm.Removed {
			v.fault(c.seq, machineID(id), "the checkpoint has a machine that was not there")
			return nil
		}
		if m.Damaged {
			return nil // it may have been folded before the damage
		}
		now.Reset()
		if err := writeSnapshot(m, &now); err != nil || !bytes.Equal(now.Bytes(), val) {
			v.fault(c.seq, m.ID, "the checkpoint is not what its records add up to")
		}
		return v.ctx.Err()
	})
	if v.ctx.Err() != nil {
		return fmt.Errorf("checkpoint %d: %w", c.seq, v.ctx.Err())
	}
	if err != nil {
		v.fault(c.seq, "", "the checkpoint can't be read: %v", err)
	} else if n != c.machines {
		v.fault(c.seq, "", "the checkpoint has %d machines, and says %d", n, c.machines)
	}
	return nil
}

// mark looks at what is said of a checkpoint by itself.
func (v *verification) mark(p pair) {
	seq := seqOf([]byte(p.key))
	switch _, err := decodeCheckpoint(seq, p.value); {
	case p.err != nil:
		v.fault(seq, "", "checkpoint: %v", p.err)
	case err != nil:
		v.fault(seq, "", "%v", err)
	case seq > v.end.seq:
		v.fault(seq, "", "there is a checkpoint behind the end, which is %d", v.end.seq)
	}
}
