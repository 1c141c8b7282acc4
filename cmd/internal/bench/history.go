package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// writeHistory makes the journal of an engine that has had machines for long:
// each was created, and has run so many times. They have directories, with
// locks that nobody holds.
func writeHistory(h home.Home, machines, runs int) (records uint64, err error) {
	j, err := journal.Open(h.Journal(), journal.Options{})
	if err != nil {
		return 0, err
	}
	defer func() {
		if closed := j.Close(); err == nil {
			err = closed
		}
	}()
	w := &historian{j: j}
	ids := make([]string, machines)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7()).String()
		w.add(ids[i], created(ids[i], i))
		if runs == 0 {
			continue
		}
		dir := filepath.Join(h.Machines(), ids[i])
		if err := os.Mkdir(dir, 0o700); err != nil {
			return 0, fmt.Errorf("history: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
			return 0, fmt.Errorf("history: %w", err)
		}
	}
	for range runs {
		for i, id := range ids {
			w.add(id, oneRun(i)...)
		}
	}
	w.flush()
	return j.Last(), w.err
}

// historian appends many records at a time.
type historian struct {
	j    *journal.Journal
	recs []fsm.Record
	err  error
}

func (w *historian) add(id string, recs ...fsm.Record) {
	for _, r := range recs {
		r.Machine, r.Kind = id, r.Fact.Kind()
		if r.Principal == "" {
			r.Principal = "engine"
		}
		w.recs = append(w.recs, r)
	}
	if len(w.recs) >= 1000 {
		w.flush()
	}
}

func (w *historian) flush() {
	if w.err == nil && len(w.recs) > 0 {
		_, w.err = w.j.Append(w.recs...)
	}
	w.recs = w.recs[:0]
}

func created(id string, i int) fsm.Record {
	return fsm.Record{
		Name: fmt.Sprintf("machine-%d", i), Principal: "uid:1000", Reason: fsm.ReasonPerson,
		Fact: &fsm.CreatedFact{
			Spec:   fsm.Spec{Version: 1, CPUs: 2, Memory: 4 << 30, Backend: "qemu", Accel: "auto", Restart: fsm.PolicyNo},
			RunTag: id[len(id)-12:],
		},
	}
}

// oneRun is what a machine's start and stop leave behind.
func oneRun(i int) []fsm.Record {
	launch, cid := uuid.Must(uuid.NewV7()).String(), uint32(3+i)
	at := fsm.Moment{Boot: "01234567-89ab-cdef-0123-456789abcdef", Mono: time.Hour}
	recs := []fsm.Record{
		{Principal: "uid:1000", Reason: fsm.ReasonPerson, CID: cid, Fact: &fsm.StartRequestedFact{Boot: at.Boot, Allowed: time.Minute}},
		{Fact: &fsm.LaunchedFact{At: at, Driver: "qemu", Version: "v0.1.0", Accel: "kvm"}},
		{CID: cid, Fact: &fsm.ReadyFact{
			AgentVersion: "v0.1.0", AgentID: launch, GuestBoot: launch, At: at,
			Phases: map[string]int64{"init": 900, "mounts": 950, "listening": 1000, "connected": 1500, "answered": 1510},
		}},
		{Principal: "uid:1000", Reason: fsm.ReasonPerson, CID: cid, Fact: &fsm.StopRequestedFact{Mode: fsm.StopGraceful, Deadline: at.Add(time.Minute)}},
		{Fact: &fsm.ExitedFact{Cause: fsm.CauseStopped, Detail: "the guest powered off", Note: true}},
	}
	for k := range recs {
		recs[k].Launch = launch
	}
	return recs
}
