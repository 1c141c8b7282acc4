package linear

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// did is a command that was answered well, of a client of its own.
func did(v Verb, from, to int64, s Seen) Op {
	return Op{Client: int(from), Verb: v, Name: "a", Call: from, Return: to, Outcome: Done, Tries: 1, Seen: s}
}

func was(id, state, launch string) Seen {
	s := Seen{Name: "a", ID: id, State: state, Launch: launch}
	if launch != "" {
		s.CID = 3
	}
	return s
}

func refusedWith(v Verb, from, to int64, c wire.Code, state string) Op {
	return Op{Client: int(from), Verb: v, Name: "a", Call: from, Return: to, Outcome: Refused, Tries: 1, Code: c, Seen: Seen{State: state}}
}

// again makes it the answer of a request that had been carried out before.
func again(o Op) Op {
	o.Repeated, o.Tries = true, 2
	return o
}

func renamed(v Verb, from, to int64, id, state string) Op {
	return did(v, from, to, was(id, state, ""))
}

func twice(o Op) Op {
	o.Tries = 2
	return o
}

func lostAnswer(v Verb, from, to int64) Op {
	return Op{Client: int(from), Verb: v, Name: "a", Call: from, Return: to, Outcome: Unknown, Tries: 1}
}

func shows(from, to int64, all ...Seen) Op {
	return Op{Client: int(from), Verb: List, Call: from, Return: to, Outcome: Done, Tries: 1, List: all}
}

const (
	conflict = wire.Code_CODE_CONFLICT
	notFound = wire.Code_CODE_NOT_FOUND
)

// begun is a create and a start, answered by 4.
var begun = []Op{did(Create, 1, 2, was("x", created, "")), did(Start, 3, 4, was("x", running, "l1"))}

func after(begin []Op, more ...Op) []Op { return append(begin[:len(begin):len(begin)], more...) }

// What the engine may answer. A model that refuses everything is no better
// than one that allows everything.
var good = map[string][]Op{
	"a whole life": after(begun, did(Stop, 5, 6, was("x", stopped, "")), did(Start, 7, 8, was("x", running, "l2")),
		did(Restart, 9, 12, was("x", running, "l3")), did(Inspect, 10, 11, was("x", stopping, "l2")), did(Force, 13, 16, Seen{ID: "x"}),
		did(Inspect, 14, 15, was("x", stopping, "l3")), refusedWith(Inspect, 17, 18, notFound, ""), shows(19, 20)),
	"one of two creates wins": {did(Create, 1, 5, was("x", created, "")), refusedWith(Create, 2, 4, conflict, ""), did(Inspect, 6, 7, was("x", created, ""))},
	"two starts join":         {begun[0], did(Start, 3, 8, was("x", running, "l1")), did(Start, 4, 7, was("x", running, "l1")), did(Inspect, 5, 6, was("x", starting, "l1"))},
	"two removals join":       {begun[0], did(Remove, 3, 8, Seen{ID: "x"}), did(Remove, 4, 7, Seen{ID: "x"}), shows(9, 10)},
	"a stop overtakes a start": {begun[0], refusedWith(Start, 3, 6, conflict, stopping), did(Stop, 4, 7, was("x", stopped, "")),
		did(Inspect, 8, 9, was("x", stopped, ""))},
	"a create without an answer happened":     {lostAnswer(Create, 1, 2), did(Inspect, 3, 4, was("x", created, "")), did(Start, 5, 6, was("x", running, "l1"))},
	"a create without an answer did not":      {lostAnswer(Create, 1, 2), refusedWith(Inspect, 3, 4, notFound, ""), did(Create, 5, 6, was("y", created, ""))},
	"a create without an answer happens late": {lostAnswer(Create, 1, 2), refusedWith(Inspect, 3, 4, notFound, ""), did(Inspect, 5, 6, was("x", created, ""))},
	"a restart of before a crash is told so while its machine starts again": after(begun[:1], again(did(Restart, 3, 20, was("x", starting, "l3"))),
		did(Inspect, 5, 6, was("x", running, "l2")), did(Stop, 7, 8, was("x", stopped, "")), did(Start, 9, 30, was("x", running, "l3"))),
	"a stop of before a crash is told so while its machine starts again": after(begun, again(did(Stop, 5, 20, was("x", starting, "l2"))),
		did(Inspect, 7, 8, was("x", stopped, "")), did(Start, 9, 30, was("x", running, "l2"))),
	"a start of before a crash is told that its machine was removed, and another has its name": after(begun[:1], twice(refusedWith(Start, 3, 20, conflict, removed)),
		did(Force, 5, 6, Seen{ID: "x"}), did(Create, 7, 8, was("y", created, "")), did(Inspect, 21, 22, was("y", created, ""))),
	"a restart of before a crash is told so by nobody's actor": after(begun, twice(refusedWith(Restart, 5, 20, conflict, "")), did(Force, 7, 8, Seen{ID: "x"}), shows(21, 22)),
	"a machine comes and goes by its name": after(begun[:1], renamed(Leave, 3, 8, "x", created), did(Inspect, 4, 5, was("x", created, "")),
		refusedWith(Inspect, 6, 7, notFound, ""), did(Create, 9, 10, was("y", created, "")), refusedWith(Arrive, 11, 12, conflict, ""),
		did(Remove, 13, 14, Seen{ID: "y"}), renamed(Arrive, 15, 16, "x", created), did(Start, 17, 18, was("x", running, "l1"))),
	"a rename without an answer happens late": {lostAnswer(Arrive, 1, 2), refusedWith(Inspect, 3, 4, notFound, ""), did(Inspect, 5, 6, was("x", stopped, "")),
		did(Start, 7, 8, was("x", running, "l1"))},
	"a start of before a rename is told so under the new name": after(begun[:1], again(did(Start, 3, 20, Seen{Name: "b", ID: "x", State: stopped})),
		did(Stop, 5, 6, was("x", stopped, "")), renamed(Leave, 7, 8, "x", stopped), did(Create, 9, 10, was("y", created, ""))),
	"a machine is lost in a crash":     after(begun, Op{Verb: Lost, Call: 5, Return: 8}, did(Inspect, 6, 7, was("x", stopped, ""))),
	"a machine is not lost in a crash": after(begun, Op{Verb: Lost, Call: 5, Return: 8}, did(Inspect, 9, 10, was("x", running, "l1"))),
}

// What it must never answer, and what the report says of it.
var bad = map[string]struct {
	ops  []Op
	says string
}{
	"two creates win":                 {[]Op{did(Create, 1, 5, was("x", created, "")), did(Create, 2, 4, was("y", created, ""))}, "name a"},
	"two machines of one name listed": {after(begun[:1], shows(3, 4, was("x", created, ""), was("y", created, ""))), "two machines"},
	"a name was freed before its machine was removed": {after(begun[:1], did(Remove, 3, 10, Seen{ID: "x"}), did(Create, 4, 5, was("y", created, "")),
		did(Inspect, 6, 7, was("x", created, ""))), "name a"},
	"a name is taken after its machine was removed": {after(begun[:1], did(Remove, 3, 4, Seen{ID: "x"}), refusedWith(Create, 5, 6, conflict, "")), "name a"},
	"a refusal of a name that nobody has":           {[]Op{refusedWith(Create, 1, 2, conflict, "")}, "name a"},
	"a stop was acknowledged, and it runs":          {after(begun, did(Stop, 5, 6, was("x", stopped, "")), did(Inspect, 7, 8, was("x", running, "l1"))), "name a"},
	"a stop was acknowledged, and it is stopping":   {after(begun, did(Stop, 5, 6, was("x", stopped, "")), did(Inspect, 7, 8, was("x", stopping, "l1"))), "name a"},
	"a start was acknowledged, and it is starting":  {after(begun, shows(5, 6, was("x", starting, "l1"))), "name a"},
	"a machine stopped by itself":                   {after(begun, did(Inspect, 5, 6, was("x", stopped, ""))), "name a"},
	"a machine started by itself":                   {after(begun[:1], did(Inspect, 5, 6, was("x", starting, "l1"))), "name a"},
	"a created machine is gone":                     {after(begun[:1], refusedWith(Inspect, 3, 4, notFound, "")), "name a"},
	"a removed machine is back":                     {after(begun[:1], did(Remove, 3, 4, Seen{ID: "x"}), shows(5, 6, was("x", created, ""))), "name a"},
	"one machine was removed twice":                 {after(begun[:1], did(Remove, 3, 4, Seen{ID: "x"}), did(Remove, 5, 6, Seen{ID: "x"})), "name a"},
	"a restart restarted nothing":                   {after(begun, did(Restart, 5, 6, was("x", running, "l1")), did(Inspect, 7, 8, was("x", running, "l1"))), "name a"},
	"a repeated restart restarted nothing":          {after(begun, again(did(Restart, 5, 6, was("x", running, "l1")))), "name a"},
	"a repeated stop shows what is not there":       {after(begun, again(did(Stop, 5, 6, was("x", created, "")))), "name a"},
	"a machine runs that was removed while live":    {after(begun, did(Remove, 5, 6, Seen{ID: "x"})), "name a"},
	"a create without an answer happened twice": {[]Op{lostAnswer(Create, 1, 2), did(Inspect, 3, 4, was("x", created, "")), did(Remove, 5, 6, Seen{ID: "x"}),
		did(Inspect, 7, 8, was("z", created, ""))}, "name a"},
	"a lost machine is lost outside the crash": {after(begun, Op{Verb: Lost, Call: 5, Return: 6}, did(Inspect, 7, 8, was("x", running, "l1")),
		did(Inspect, 9, 10, was("x", stopped, ""))), "name a"},
	"two live machines share a CID": {[]Op{shows(1, 2, was("x", running, "l1")), shows(3, 4, Seen{Name: "b", ID: "y", State: starting, Launch: "l2", CID: 3}),
		shows(5, 6, was("x", stopping, "l1"))}, "CID 3"},
	"a renamed machine has its old name":                          {after(begun[:1], renamed(Leave, 3, 4, "x", created), did(Inspect, 5, 6, was("x", created, ""))), "name a"},
	"a renamed machine has not its new name":                      {[]Op{renamed(Arrive, 1, 2, "x", created), refusedWith(Inspect, 3, 4, notFound, "")}, "name a"},
	"a name is taken that its machine left":                       {after(begun[:1], renamed(Leave, 3, 4, "x", created), refusedWith(Create, 5, 6, conflict, "")), "name a"},
	"two machines come to one name":                               {after(begun[:1], renamed(Arrive, 3, 4, "y", created)), "name a"},
	"a machine runs that was renamed":                             {after(begun, renamed(Leave, 5, 6, "x", running)), "name a"},
	"a rename is refused for nobody's name":                       {[]Op{refusedWith(Arrive, 1, 2, conflict, "")}, "name a"},
	"a start is carried out by another's name":                    {after(begun[:1], did(Start, 3, 4, Seen{Name: "b", ID: "z", State: running})), "name a"},
	"no answer at all":                                            {[]Op{{Verb: Start, Name: "a", Call: 1, Return: 2, Outcome: Mute, Tries: 1}}, "no answer"},
	"a start that was asked once is refused by a removed machine": {[]Op{refusedWith(Start, 1, 2, conflict, removed)}, "name a"},
	"a stop is refused by a removed machine":                      {after(begun[:1], twice(refusedWith(Stop, 3, 8, conflict, removed)), did(Remove, 4, 5, Seen{ID: "x"})), "name a"},
	"an internal error":                                           {[]Op{refusedWith(Start, 1, 2, wire.Code_CODE_INTERNAL, "")}, "INTERNAL"},
}

func TestGoodHistories(t *testing.T) {
	for what, ops := range good {
		h := History{Ops: ops}
		if err := h.Check(t.TempDir()); err != nil || h.Undecided != nil {
			t.Errorf("%s: %v, undecided: %v", what, err, h.Undecided)
		}
	}
}

func TestBadHistories(t *testing.T) {
	for what, b := range bad {
		dir := t.TempDir()
		h := History{Ops: b.ops}
		err := h.Check(dir)
		if err == nil || !strings.Contains(err.Error(), b.says) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for _, page := range []string{"name-a.html", "cid-3.html"} {
			path := filepath.Join(dir, page)
			if !strings.Contains(err.Error(), path) {
				continue
			}
			if drawn, err := os.ReadFile(path); err != nil || !strings.Contains(string(drawn), "<html") {
				t.Errorf("%s: the page: %v", what, err)
			}
		}
	}
}

func TestBadJournals(t *testing.T) {
	rec := func(seq uint64, kind, machine, name string, cid uint32, request string) *wire.Record {
		return &wire.Record{Seq: seq, Kind: kind, Machine: machine, Name: name, Cid: cid, Request: request, Principal: "p"}
	}
	begun := []*wire.Record{rec(1, "created", "x", "a", 0, "r1"), rec(2, "start-requested", "x", "a", 3, "r2"), rec(3, "stop-requested", "x", "a", 3, "r3")}
	ended := append(begun[:3:3], rec(4, "exited", "x", "a", 0, ""))
	for what, c := range map[string]struct {
		records []*wire.Record
		says    string
	}{
		"good":                            {append(ended[:4:4], rec(5, "start-requested", "y", "b", 3, ""), rec(6, "removed", "x", "a", 0, "r4"), rec(7, "created", "z", "A", 0, "")), ""},
		"a CID before exited":             {append(begun[:3:3], rec(4, "start-requested", "y", "b", 3, "")), "CID 3 is held"},
		"a name before removed":           {append(ended[:4:4], rec(5, "created", "z", "A", 0, "")), "the name is that of x"},
		"renamed":                         {append(ended[:4:4], rec(5, "renamed", "x", "b", 0, ""), rec(6, "created", "z", "A", 0, "")), ""},
		"renamed to a name with a holder": {append(ended[:4:4], rec(5, "created", "z", "b", 0, ""), rec(6, "renamed", "x", "B", 0, "")), "the name is that of z"},
		"a request carried out twice":     {append(ended[:4:4], rec(5, "start-requested", "x", "a", 3, "r2")), "carried out by record 2"},
	} {
		err := Walk(c.records)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
