package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// world answers every question with something worth looking at.
func world(_ context.Context, msg proto.Message) (proto.Message, error) {
	switch m := msg.(type) {
	case *wire.ListMachines:
		return &wire.Machines{Machines: machines(), Engine: &wire.EngineInfo{Damaged: 1}}, nil
	case *wire.InspectMachine:
		for _, one := range machines() {
			if strings.EqualFold(one.GetName(), m.GetName()) {
				return one, nil
			}
		}
	case *wire.QueryJournal:
		return &wire.Records{Records: records(), Last: 7}, nil
	case *wire.WhyMachine:
		return &wire.Why{Machine: machines()[1], Chain: records()[2:5], Can: []string{"arcbox start DB", "arcbox rm DB"},
			Advice:   []*wire.Advice{{Command: "arcbox logs DB --tail 50", Why: "what led to the panic"}, {Command: "arcbox start DB", Why: "start it again"}},
			Sentence: "DB has been Stopped for 1m0s (guest-panic): the guest's kernel panicked."}, nil
	case *wire.DrawTimeline:
		return lives(m), nil
	case *wire.CountJournal:
		return &wire.JournalStats{Records: 7, First: 1, Last: 7, FirstUnixNanos: ago(time.Hour), LastUnixNanos: ago(time.Minute), LastHour: 7, LastDay: 7,
			DiskBytes: 3 << 20, RecordBytes: 2100, Kinds: map[string]uint64{"created": 2, "exited": 1, "ready": 2, "start-requested": 2},
			Starts: 2, FailedStarts: 1, StartsP: []int64{1.5e9, 2e9, 2e9, 2e9}, Removed: 1, Machines: []*wire.Tally{
				{Name: "DB", Machine: "01a1", Records: 4, Nanos: map[string]int64{"Stopped": 3600e9}},
				{Name: "web", Machine: "01a2", Records: 3, Nanos: map[string]int64{"Running": 180e9, "Starting": 1e9}, Starts: 2, StartP50: 1.5e9, StartP99: 2e9},
			}}, nil
	case *wire.BackupJournal:
		return &wire.BackedUp{Dir: m.GetDir(), Last: 7, Records: 7, Bytes: 3 << 20}, nil
	case *wire.MachinesAt:
		return &wire.PastMachines{Seq: 5, UnixNanos: ago(5 * time.Minute), Machines: machines()[:2]}, nil
	case *wire.VerifyJournal:
		return &wire.Verified{First: 1, Last: 7, Records: 7, Faults: []*wire.Fault{{Seq: 6, Machine: "01a2", What: "checksum does not match"}}}, nil
	case *wire.EngineStatus:
		return &wire.EngineInfo{Version: "1.0", Pid: 42, StartedUnixNanos: ago(1e9), Home: "/a/data", Seq: 7, Machines: 5, Running: 1,
			Unrepaired: 1, DiskLow: true, SimAllowed: true, BootId: "b"}, nil
	}
	return nil, refusal(wire.Code_CODE_NOT_FOUND)
}

// lives are states over the last hour.
func lives(q *wire.DrawTimeline) *wire.Timeline {
	out := &wire.Timeline{SinceUnixNanos: q.GetSinceUnixNanos(), UntilUnixNanos: ago(0)}
	if q.GetUntilUnixNanos() != 0 {
		out.UntilUnixNanos = q.GetUntilUnixNanos()
	}
	span := func(state string, from, to time.Duration, cause string) *wire.Span {
		return &wire.Span{State: state, FromUnixNanos: ago(from), ToUnixNanos: ago(to), Cause: cause, Seq: 3}
	}
	out.Lives = []*wire.Life{
		{Name: "DB", Machine: "01a1", Spans: []*wire.Span{
			span("Created", 20*time.Hour, 18*time.Hour, ""), span("Starting", 18*time.Hour, 17*time.Hour, ""), span("Running", 17*time.Hour, 9*time.Hour, ""),
			span("Stopped", 9*time.Hour, 2*time.Hour, "guest-panic"), span("Running", 2*time.Hour, 0, ""),
		}},
		{Name: "web", Machine: "01a2", Cut: true, Spans: []*wire.Span{
			span("Running", 10*time.Hour, 4*time.Hour, ""), span("Stopping", 4*time.Hour, 3*time.Hour, ""), span("Stopped", 3*time.Hour, 0, "stopped"),
		}},
	}
	return out
}

func TestGolden(t *testing.T) {
	for name, args := range map[string]string{
		"list.txt":         "list",
		"list-quiet.txt":   "ls -q",
		"list.json":        "ps --format json",
		"inspect-web.txt":  "inspect web",
		"inspect-web.json": "inspect web --format json",
		"inspect-db.txt":   "inspect db --format text",
		"inspect-db.json":  "inspect db --format json",
		"journal.txt":      "journal",
		"journal.json":     "journal list --format json",
		"why.txt":          "journal why db",
		"why.json":         "journal why db --format json",
		"at.txt":           "journal at 10 minutes ago",
		"at.json":          "journal at 11:50 --format json",
		"at-web.txt":       "journal at 10m web",
		"timeline.txt":     "journal timeline",
		"timeline-day.txt": "journal timeline web --since 1d --until 06:00",
		"timeline.json":    "journal timeline --format json",
		"stats.txt":        "journal stats",
		"stats.json":       "journal stats --format json",
		"backup.txt":       "journal backup /b",
		"backup.json":      "journal backup /b/ --format json",
		"verify.txt":       "journal verify",
		"verify.json":      "journal verify --format json",
		"engine.txt":       "engine status",
		"engine.json":      "engine status --format json",
		"engine-start.txt": "engine start",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, &fakeEngine{answer: world})
			code := b.run(t, strings.Fields(args)...)
			if want := 0; strings.HasPrefix(name, "verify") != (code == 1) {
				t.Errorf("exit %d, want %d", code, want)
			}
			if strings.HasSuffix(name, ".json") && !json.Valid(b.out.Bytes()) {
				t.Errorf("no JSON: %s", b.out.String())
			}
			golden(t, name, "$ arcbox "+args+"\n"+b.out.String()+"--- stderr\n"+b.err.String())
		})
	}
}

func TestHelpGolden(t *testing.T) {
	var all strings.Builder
	for _, verb := range []string{
		"", "create", "start", "stop", "restart", "pause", "resume", "rm", "default", "protect", "unprotect", "set", "provision", "list", "inspect", "exec", "shell", "cp", "ping", "info", "wait", "logs", "up",
		"image", "image pull", "image import", "image ls", "image inspect", "image rm", "image prune", "disk", "disk compact",
		"journal", "journal why", "journal at", "journal timeline", "journal stats", "journal export", "journal backup", "journal restore", "journal verify", "journal recover", "engine", "engine start", "engine stop", "engine status", "version",
	} {
		b := newBench(t, nil)
		if code := b.run(t, strings.Fields("help "+verb)...); code != 0 {
			t.Errorf("help %s: exit %d", verb, code)
		}
		all.WriteString("$ arcbox help " + verb + "\n" + b.out.String() + b.err.String() + "\n")
	}
	golden(t, "help.txt", all.String())
}

func TestListOfNothing(t *testing.T) {
	b := newBench(t, answers(&wire.Machines{}, nil))
	if code := b.run(t, "list"); code != 0 || !strings.Contains(b.err.String(), "arcbox up") || strings.Count(b.out.String(), "\n") != 1 {
		t.Errorf("exit %d, out %q, err %q", code, b.out.String(), b.err.String())
	}
	b = newBench(t, answers(&wire.Machines{}, nil))
	if b.run(t, "list", "--format", "json"); b.out.String() != "[]\n" {
		t.Errorf("JSON of nothing: %q", b.out.String())
	}
}

func TestJournalFollow(t *testing.T) {
	e := &fakeEngine{answer: world, follow: func(_ context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error {
		if q.GetAfter() != 7 || q.GetMachine() != "web" {
			t.Errorf("follows %v", q)
		}
		if err := each([]*wire.Record{{Seq: 8, UnixNanos: ago(0), Name: "web", Kind: "removed", To: "Removed", Principal: "uid:0"}}); err != nil {
			return err
		}
		return refusal(wire.Code_CODE_UNAVAILABLE)
	}}
	b := newBench(t, e)
	if code := b.run(t, "journal", "-f", "--machine", "web", "--format", "json"); code != 6 {
		t.Errorf("exit %d", code)
	}
	lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
	if len(lines) != 8 {
		t.Fatalf("%d lines, want 8:\n%s", len(lines), b.out.String())
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if q := e.got[0].(*wire.QueryJournal); q.GetLimit() != followFirst {
		t.Errorf("asked for the last %d", q.GetLimit())
	}
	b = newBench(t, e)
	b.run(t, "journal", "-f", "--machine", "web")
	golden(t, "follow.txt", b.out.String())
}
