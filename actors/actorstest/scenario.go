package actorstest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Scenario plays a story, line by line, on one host. A line is a word, names
// and options:
//
//	create NAME [image] [came] [network [egress=POLICY]] [provision] [restart=POLICY] [block=PATH[,ro]] [owner=WHOSE] [id=REQUEST] [as=WHO] [&]
//	start NAME [timeout=D] …     stop NAME [timeout=D] [kill] [no-kill] [host] …
//	set NAME [cpus=N] [memory=MIB] [disk=MIB] [label=TIER] [protect=yes|no] [egress=POLICY] [auto-ports=yes|no] …
//	rename NAME to=NAME …       clone NAME to=NAME …
//	export NAME …                asks for a ticket; fetch NAME [&] gets the disk with the last one
//	again NAME …                 asks for its set-up once more
//	start NAME fresh             suspend NAME [timeout=D] …
//	pause NAME …                 resume NAME …            open NAME (a ticket to its guest)
//	restart NAME [kill] [start-timeout=D] …     rm NAME [force] …        wait NAME UNTIL [timeout=D]
//	engine-stop [machines] [host]                         why NAME                 list     ports NAME
//	script NAME [launch=…] [boot=…] [stop=…] [setup=…] [pause=never] [save=never|hangs|lingers]    how its VMs behave
//	happen NAME WHAT             something happens to its VM
//	network lost|back [&]        its process dies, and nobody is in its place; or somebody is
//	link NAME cut|whole          the network's link to its hypervisor
//	denied NAME tcp=ADDRESS [ports=N] [&]    its guest tries N ports from 443 on, and its policy denies it
//	policies                     what the network process holds machines to
//	owner WHOSE [&]              the command ends that machines live for
//	tick D | rest | pass N       time passes; or N things happen, and no more
//	clock D                      somebody sets the wall clock
//	disk full|free               its space
//	cids N                       the next engine's CIDs begin anew behind N
//	crash [reboot] [unsynced=N] [NAME=WHAT]     the engine dies, and the next starts
//
// With & a request is only sent, and what follows from it happens later.
type Scenario struct {
	*Engine
	Each Step // before each thing that happens; nil = nothing

	open    []string // asks that were not answered when last looked at
	names   map[string]string
	records uint64
}

// Image is the digest of the image that every machine with one has.
const Image = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// NewScenario starts a host and its first engine.
func NewScenario(each Step) (*Scenario, error) {
	e, err := New(each)
	if err != nil {
		return nil, err
	}
	s := &Scenario{Engine: e, Each: each, names: map[string]string{}}
	s.settle(s.Each)
	s.records = s.journal.Last()
	return s, nil
}

// line is one line of a story.
type line struct {
	verb, name string
	words      map[string]string
	later      bool
}

func parseLine(text string) line {
	l := line{words: map[string]string{}}
	for i, w := range strings.Fields(text) {
		k, v, has := strings.Cut(w, "=")
		switch {
		case i == 0:
			l.verb = w
		case w == "&":
			l.later = true
		case i == 1 && !has:
			l.name = w
		default:
			l.words[k] = v
		}
	}
	return l
}

func (l line) has(word string) bool { _, ok := l.words[word]; return ok }

func (l line) duration(word string) int64 {
	d, err := time.ParseDuration(l.words[word])
	if err != nil {
		return 0
	}
	return int64(d)
}

func (l line) number(word string) int64 {
	n, err := strconv.ParseInt(l.words[word], 10, 32)
	if err != nil {
		return 0
	}
	return n
}

func (l line) blocks() []*wire.Block {
	text, has := l.words["block"]
	if !has {
		return nil
	}
	path, readOnly := strings.CutSuffix(text, ",ro")
	return []*wire.Block{{Path: path, ReadOnly: readOnly}}
}

func (l line) request() *wire.Request { return &wire.Request{Id: l.words["id"]} }

func (l line) set() *wire.SetMachine {
	out := &wire.SetMachine{Request: l.request(), Name: l.name, Cpus: uint32(l.number("cpus")), Memory: l.number("memory") << 20, Disk: l.number("disk") << 20}
	out.Egress = l.words["egress"]
	if l.has("label") {
		out.Labels = map[string]string{"tier": l.words["label"]}
	}
	if l.has("protect") {
		on := l.words["protect"] == "yes"
		out.Protect = &on
	}
	if l.has("auto-ports") {
		on := l.words["auto-ports"] == "yes"
		out.AutoPorts = &on
	}
	return out
}

// message is the request that a line stands for, nil where it is none.
func (l line) message() proto.Message {
	switch l.verb {
	case "create":
		spec := &wire.Spec{Cpus: 1, Memory: 64 << 20, Backend: "sim", Restart: l.words["restart"], Blocks: l.blocks(), Owner: Owner(l.words["owner"])}
		if l.has("provision") {
			spec.Provision = &wire.Provision{Kind: "script", Text: []byte("true")}
		}
		if l.has("image") {
			spec.Image = Image
		}
		if l.has("share") {
			spec.Shares = []*wire.Share{{Host: "/src", Guest: "/mnt/src"}}
		}
		if l.has("network") { // which a sim can't have
			spec.Backend, spec.Network, spec.Egress = "", "nat", l.words["egress"]
		}
		stage := ""
		if l.has("came") {
			spec.Image, stage = Image, Came
		}
		return &wire.CreateMachine{Request: l.request(), Name: l.name, Spec: spec, Stage: stage}
	case "start":
		return &wire.StartMachine{Request: l.request(), Name: l.name, TimeoutNanos: l.duration("timeout"), Fresh: l.has("fresh")}
	case "suspend":
		return &wire.SuspendMachine{Request: l.request(), Name: l.name, TimeoutNanos: l.duration("timeout")}
	case "stop":
		return &wire.StopMachine{
			Request: l.request(), Name: l.name, TimeoutNanos: l.duration("timeout"), Kill: l.has("kill"), NoKill: l.has("no-kill"),
		}
	case "restart":
		return &wire.RestartMachine{Request: l.request(), Name: l.name, TimeoutNanos: l.duration("timeout"), StartTimeoutNanos: l.duration("start-timeout"), Kill: l.has("kill")}
	case "rm":
		return &wire.RemoveMachine{Request: l.request(), Name: l.name, Force: l.has("force")}
	case "set":
		return l.set()
	case "clone":
		return &wire.CloneMachine{Request: l.request(), Name: l.name, NewName: l.words["to"]}
	case "export":
		return &wire.ExportMachine{Name: l.name}
	case "rename":
		return &wire.RenameMachine{Request: l.request(), Name: l.name, NewName: l.words["to"]}
	case "again":
		return &wire.ProvisionMachine{Request: l.request(), Name: l.name}
	case "pause":
		return &wire.PauseMachine{Request: l.request(), Name: l.name}
	case "resume":
		return &wire.ResumeMachine{Request: l.request(), Name: l.name}
	case "open":
		return &wire.OpenGuest{Name: l.name}
	case "wait":
		m := &wire.AwaitMachine{Name: l.name, TimeoutNanos: l.duration("timeout")}
		for until := range l.words {
			if until != "timeout" {
				m.Until = until
			}
		}
		return m
	case "engine-stop":
		m := &wire.StopEngine{Request: l.request(), Machines: l.name == "machines"}
		if l.has("host") {
			m.Reason = string(fsm.ReasonHostShutdown)
		}
		return m
	case "ports":
		return &wire.InspectMachine{Name: l.name}
	case "why":
		return &wire.WhyMachine{Name: l.name}
	}
	return nil
}

// Play plays one line and tells what came of it: answers, and new records.
func (s *Scenario) Play(text string) (string, error) {
	l := parseLine(text)
	if msg := l.message(); msg != nil {
		who := l.words["as"]
		if who == "" {
			who = "uid:0"
		}
		name := s.Ask(who, msg)
		s.open = append(s.open, name)
		s.names[name] = l.verb + " " + l.name
		if synctestWait(); !l.later {
			s.settle(s.Each)
		}
		return s.news(), nil
	}
	act := acts[l.verb]
	if act == nil {
		return "", fmt.Errorf("%q: there is no such line", text)
	}
	if err := act(s, l); err != nil {
		return "", err
	}
	switch l.verb {
	case "list":
		return s.list(), nil
	case "policies":
		return s.World.policies(), nil
	}
	return s.news(), nil
}

// acts are the lines that are no requests.
var acts = map[string]func(*Scenario, line) error{
	"list":     func(*Scenario, line) error { return nil },
	"policies": func(*Scenario, line) error { return nil },
	"fetch": func(s *Scenario, l line) error {
		name, err := s.Fetch()
		s.open = append(s.open, name)
		s.names[name] = "fetch " + l.name
		if synctestWait(); !l.later {
			s.settle(s.Each)
		}
		return err
	},
	"network": func(s *Scenario, l line) error {
		if l.name == "lost" {
			s.World.LoseNetwork()
		} else {
			s.World.BringNetwork()
		}
		if !l.later {
			s.settle(s.Each)
		}
		return nil
	},
	"denied": func(s *Scenario, l line) error {
		first := l.words["tcp"]
		var places []fsm.Denial
		for i := range max(l.number("ports"), 1) {
			places = append(places, fsm.Denial{Protocol: "tcp", To: fmt.Sprintf("%s:%d", first, 443+i)})
		}
		s.World.Deny(l.name, places...)
		if !l.later {
			s.settle(s.Each)
		}
		return nil
	},
	"link": func(s *Scenario, l line) error {
		s.World.Cut(l.name, l.has("cut"))
		s.settle(s.Each)
		return nil
	},
	"rest": func(s *Scenario, _ line) error { return s.Rest(s.Each) },
	"tick": func(s *Scenario, l line) error {
		d, err := time.ParseDuration(l.name)
		s.Tick(d, s.Each)
		return err
	},
	"clock": func(s *Scenario, l line) error {
		d, err := time.ParseDuration(l.name)
		s.Clock.Set(d)
		return err
	},
	"pass": func(s *Scenario, l line) error {
		n, err := strconv.Atoi(l.name)
		s.Pass(n, s.Each)
		return err
	},
	"script": func(s *Scenario, l line) error {
		s.World.Script(l.name, Script{Save: l.words["save"], Copy: l.words["copy"], Pause: l.words["pause"], Launch: l.words["launch"], Boot: l.words["boot"], Stop: l.words["stop"], Setup: l.words["setup"], Share: l.words["share"]})
		return nil
	},
	"happen": func(s *Scenario, l line) error {
		for what := range l.words {
			if Happens[what] == nil || !s.World.Happen(l.name, what) {
				return fmt.Errorf("%s can't happen to %s", what, l.name)
			}
		}
		s.settle(s.Each)
		return nil
	},
	"owner": func(s *Scenario, l line) error {
		if s.World.EndOwner(l.name); !l.later {
			s.settle(s.Each)
		}
		return nil
	},
	"disk": func(s *Scenario, l line) error {
		s.Full.Store(l.name == "full")
		return nil
	},
	"cids": func(s *Scenario, l line) error {
		n, err := strconv.ParseUint(l.name, 10, 32)
		s.last = uint32(n)
		return err
	},
	"crash": (*Scenario).crash,
}

func (s *Scenario) crash(l line) error {
	a := Aftermath{Reboot: l.name == "reboot"}
	for k, v := range l.words {
		if k == "unsynced" {
			a.Unsynced, _ = strconv.Atoi(v)
			continue
		}
		a.Machine, a.What = k, v
	}
	next, err := s.Crash(a, s.Each)
	if err != nil {
		return err
	}
	old := s.Engine
	s.Engine, s.open = next, nil
	if err := old.Close(); err != nil {
		return err
	}
	s.settle(s.Each)
	return nil
}

// Pass lets n things happen, and no more.
func (e *Engine) Pass(n int, each Step) {
	for ; n > 0; n-- {
		synctestWait()
		held := e.World.Gates.Held()
		if len(held) == 0 {
			return
		}
		if each != nil {
			each(e, held[0])
		}
		e.World.Gates.Pass(held[0])
	}
	synctestWait()
}

// news is what was answered and recorded since the last time.
func (s *Scenario) news() string {
	var out []string
	left := s.open[:0:0]
	for _, name := range s.open {
		if a := s.Answer(name); a != nil {
			out = append(out, fmt.Sprintf("%s: %s", s.names[name], inWords(a)))
		} else {
			left = append(left, name)
		}
	}
	s.open = left
	records, err := s.Records()
	if err != nil {
		return err.Error()
	}
	// Machines write side by side: of one moment only each one's own order counts.
	fresh := records[s.records:]
	slices.SortStableFunc(fresh, func(a, b fsm.Record) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(rank(a), rank(b)))
	})
	for _, r := range fresh {
		out = append(out, "  "+recordInWords(r, s.nameOf(r.Machine)))
	}
	s.records = uint64(len(records))
	return strings.Join(out, "\n")
}

// rank is where a record stands among those of the same moment.
func rank(r fsm.Record) string {
	if r.Kind == fsm.KindEngineStopped {
		return "~" // behind all machines
	}
	return r.Machine
}

func (s *Scenario) nameOf(id string) string {
	if m, ok := s.journal.Machine(id); ok {
		return m.Name
	}
	return ""
}

func (s *Scenario) list() string {
	var out []string
	for _, m := range s.Machines() {
		l := fmt.Sprintf("%s %s, desired %s, cid %d", m.Name, m.State, m.Desired, m.CID())
		if m.Exit != nil && !m.State.Live() {
			l += ", " + string(m.Exit.Cause)
		}
		if h := m.Health; h.Level != fsm.HealthOK {
			l += fmt.Sprintf(", %s: %s", h.Level, h.Why)
		}
		out = append(out, l)
	}
	return strings.Join(out, "\n")
}
