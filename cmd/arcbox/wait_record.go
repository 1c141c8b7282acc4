package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// recordWord is what stands before the kind of a record to wait for.
const recordWord = "record="

// sinceNow stands for the last record that there is of the machine.
const sinceNow = math.MaxUint64

// kindsOfMachines are the kinds of records that a machine may have. Those of
// fsm.Retired are not among them: nobody would see one come.
var kindsOfMachines = []string{
	"adopted", "booted", "created", "desired-changed", "disk-formatted", "egress-denied", "exited", "health-changed",
	"launched", "pause-requested", "provisioned", "ready", "rebooted", "relaunched", "removed", "renamed", "repaired", "resume-requested",
	"spec-changed", "start-requested",
	"stop-abandoned", "stop-requested", "stop-tightened", "stray-found", "stray-gone",
}

// kindsOfEngine are the kinds of the engine's own records.
var kindsOfEngine = []string{"engine-started", "engine-stopped"}

func recordWords() []string {
	var words []string
	for _, kind := range kindsOfMachines {
		words = append(words, recordWord+kind)
	}
	return words
}

// errCame ends the following of a journal: what was waited for is there.
var errCame = errors.New("it came")

// awaitRecord waits for a record of a machine, which is known by its id: another one
// that gets its name is not meant.
func (a *app) awaitRecord(ctx context.Context, e engine, name, kind string, after uint64, limit time.Duration) error {
	m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
	if err != nil {
		return err
	}
	if after == sinceNow {
		after = m.GetSeq()
	}
	late := &failure{code: exitTimeout, kind: "timeout", machine: name, hint: "arcbox journal --machine " + name, message: fmt.Sprintf("no record %s of %s came within %s", kind, name, limit)}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	var came *wire.Record
	q := &wire.QueryJournal{Machine: m.GetId(), Kinds: []string{kind, "removed"}, After: after}
	err = e.Follow(ctx, q, func(records []*wire.Record) error {
		if came == nil && len(records) > 0 {
			came = records[0]
			return errCame
		}
		return nil
	})
	switch {
	case came.GetKind() == kind && a.json():
		return a.printJSON(recordView(came))
	case came.GetKind() == kind:
		return a.printTable(recordHeader, [][]string{recordRow(came)})
	case came != nil:
		return &failure{code: exitConflict, kind: "conflict", machine: name, hint: "arcbox journal why " + name, message: fmt.Sprintf("%s was removed before a record %s of it came", name, kind)}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}
