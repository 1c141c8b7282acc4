package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	hosts "github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// timeline is one start, as seen by whoever could see each step.
type timeline struct {
	machine             *wire.Machine    // as it runs
	asked, answered     time.Time        // by the client
	requested, launched time.Time        // the journal's
	host                time.Time        // the VM host began
	greeted, built      time.Duration    // QEMU's QMP, and its machine, since its fork
	ran                 time.Duration    // the guest's first instruction, since the fork
	runs                time.Time        // the same as a moment
	userLine            time.Time        // on the serial line
	phases              map[string]int64 // the guest's, since its kernel's clock began; connected and answered: since host
}

func (t *timeline) total() time.Duration { return t.answered.Sub(t.asked) }

// learn asks the journal, the VM host and its log.
func (t *timeline) learn(ctx context.Context, e *engine, dir string) error {
	m := t.machine
	records, err := client.Call[*wire.Records](ctx, e.Client, &wire.QueryJournal{Machine: m.GetId(), Limit: 8})
	if err != nil {
		return err
	}
	for _, r := range records.GetRecords() {
		at := time.Unix(0, r.GetUnixNanos())
		switch {
		case r.GetLaunch() != m.GetLaunch():
		case r.GetKind() == "start-requested":
			t.requested = at
		case r.GetKind() == "launched":
			t.launched = at
		}
	}
	hello, err := hosts.Connect(hosts.Place{Dir: dir, RunDir: m.GetRunDir()}).Hello(ctx)
	if err != nil {
		return err
	}
	t.host, t.phases = hello.Started, m.GetPhases()
	return t.readHostLog(filepath.Join(dir, "host.err"))
}

// readHostLog finds the line that tells how long QEMU took.
func (t *timeline) readHostLog(path string) error {
	text, err := lastLine(path, "QMP greeting after")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		label string
		to    *time.Duration
	}{{"greeting after ", &t.greeted}, {"built after ", &t.built}, {"running after ", &t.ran}} {
		_, rest, _ := strings.Cut(text, f.label)
		if *f.to, err = time.ParseDuration(strings.TrimRight(strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == '"' })[0], " ")); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	stamp, _, _ := strings.Cut(strings.TrimPrefix(text, "time="), " ")
	if t.runs, err = time.Parse(time.RFC3339Nano, stamp); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// stage is a stretch of a start.
type stage struct {
	who, what string
	took      time.Duration
	beside    bool // it runs beside the others and is no part of the sum
}

// guest is a moment that the guest's clock tells, by the line that it printed
// when its init began.
func (t *timeline) guest(phase string) time.Time {
	return t.userLine.Add(time.Duration(t.phases[phase]-t.phases["init"]) * time.Millisecond)
}

func (t *timeline) since(phase string) time.Time {
	return t.host.Add(time.Duration(t.phases[phase]) * time.Millisecond)
}

func (t *timeline) stages() []stage {
	fork := t.runs.Add(-t.ran)
	return []stage{
		{who: "engine", what: "request over gRPC, CID, directory, lock", took: t.requested.Sub(t.asked)},
		{who: "journal", what: "`start-requested` synced; then token, initramfs, the VM host's start", took: t.host.Sub(t.requested)},
		{who: "VM host", what: "its checks, until QEMU is forked", took: fork.Sub(t.host)},
		{who: "QEMU", what: "its start, until QMP greets", took: t.greeted},
		{who: "QEMU", what: "its machine built (kernel and initramfs read)", took: t.built - t.greeted},
		{who: "QMP", what: "`cont`, until the guest runs", took: t.ran - t.built},
		{who: "kernel", what: "until the first user-space line, Go's own start included", took: t.userLine.Sub(t.runs)},
		{who: "agent", what: "mounts and modules, until it listens", took: t.guest("listening").Sub(t.userLine)},
		{who: "vsock", what: "device found, connection made, token welcomed", took: t.since("connected").Sub(t.guest("listening"))},
		{who: "gRPC", what: "connection and hello", took: t.since("answered").Sub(t.since("connected"))},
		{who: "journal", what: "`ready` synced, and the answer", took: t.answered.Sub(t.since("answered"))},
		{who: "journal", what: "`launched` synced", took: t.launched.Sub(t.runs), beside: true},
		{who: "modules", what: "the last of them is loaded, from the first user-space line", took: t.guest("modules").Sub(t.userLine), beside: true},
	}
}

// mergeStages takes the median of each stage.
func mergeStages(all [][]stage) []stage {
	if len(all) == 0 {
		return nil
	}
	out := append([]stage(nil), all[0]...)
	for i := range out {
		var d []time.Duration
		for _, one := range all {
			d = append(d, one[i].took)
		}
		out[i].took = median(d)
	}
	return out
}

func (t *table) writeStages(s *strings.Builder) {
	fmt.Fprintf(s, "\n## Where the time of a start goes\n\nMedians of %d starts, each stage by itself, so that they add up to about the whole.\n"+
		"What is marked “beside” runs next to the others.\n\n| who | what | took |\n|---|---|---|\n", t.boots)
	sum := time.Duration(0)
	for _, x := range t.stages {
		took := ms(x.took)
		if x.beside {
			took = "beside: " + took
		} else {
			sum += x.took
		}
		fmt.Fprintf(s, "| %s | %s | %s |\n", x.who, x.what, took)
	}
	fmt.Fprintf(s, "| | sum | %s |\n", ms(sum))
}
