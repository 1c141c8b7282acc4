package actors

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// judgeDisk keeps what a guest told of its disk where anybody should know: the
// launch before did not end cleanly, or there are errors.
func (m *machine) judgeDisk(f *fsm.ReadyFact) {
	st := m.state()
	switch d := f.Disk; {
	case d == nil:
	case st.Unclean():
		d.After, d.Ended = st.Exit.Cause, st.Exit.Time
	case !d.Replayed && d.Errors == 0:
		f.Disk = nil
	}
}

// diskFound says it in words, "" where there is nothing to say.
func diskFound(l *fsm.Launch) string {
	if l == nil || l.Ready == nil || l.Ready.Disk == nil {
		return ""
	}
	d := l.Ready.Disk
	s := "the disk"
	if d.After != "" {
		s += fmt.Sprintf("'s last run did not end cleanly (%s at %s)", d.After, d.Ended.Format(time.RFC3339))
	}
	log := "nothing had to be replayed"
	if d.Replayed {
		log = "its log was replayed"
	}
	s += fmt.Sprintf(": %s, %d errors", log, d.Errors)
	if d.Errors > 0 {
		s += "; the guest's kernel log says more"
	}
	return s
}

// started answers who wanted a machine to run.
func started(m *machine, w *waiter) proto.Message {
	st := m.state()
	out := m.doneMessage(and(diskFound(st.Launch), ofSaved(st)))
	out.Repeated = w.repeated
	return out
}

// diskFound tells of a disk that was not left cleanly.
func (t *story) diskFound() string {
	if s := diskFound(t.m.Launch); s != "" {
		return "At its start " + s
	}
	return ""
}
