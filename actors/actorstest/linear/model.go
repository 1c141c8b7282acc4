package linear

import (
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// The states of machines, as clients see them.
const (
	created  = "Created"
	starting = "Starting"
	running  = "Running"
	stopping = "Stopping"
	stopped  = "Stopped"
	removed  = "Removed"
)

// state is what one name stands for, in one of the orders that are possible.
// The zero state is a free name that nobody has asked anything of.
type state struct {
	there  bool
	id     string // "" = of a create without an answer, not seen yet
	life   string
	launch code   // 0 = not seen yet
	past   string // the codes of the launches before it, as far as they were seen
	gone   string // the machine that had the name before
	starts uint16 // of this name, so far
	ends   uint16 // removals, so far
	open   string // commands that may yet do something: see opened
}

// code stands for a launch, in one name's history.
type code byte

// What an arrival brings that nobody has answered: any machine, created or stopped.
const (
	anyMachine = "any"
	anyIdle    = "Created or Stopped"
)

// idle tells whether the machine has no VM.
func (s state) idle() bool { return s.life == created || s.life == stopped || s.life == anyIdle }

// move is a step that a command may take; false where the state has none.
type move func(s state, o *Op) (state, bool)

// The moves that the verbs are made of.
var (
	making = move(func(s state, o *Op) (state, bool) {
		free := !s.there
		s.there, s.id, s.life = true, o.Seen.ID, created
		return s, free
	})
	removing = move(func(s state, _ *Op) (state, bool) {
		idle := s.idle()
		return state{past: s.past, gone: s.id, starts: s.starts, ends: s.ends + 1, open: s.open}, idle
	})
	leaving = move(func(s state, _ *Op) (state, bool) {
		return state{past: s.past, gone: s.gone, starts: s.starts, ends: s.ends, open: s.open}, s.idle()
	})
	// Of an arrival without an answer of its own nobody knows how it was then.
	arriving = move(func(s state, o *Op) (state, bool) {
		free := !s.there
		s.there, s.id, s.life = true, o.Seen.ID, o.Seen.State
		if o.Outcome != Done || o.Repeated {
			s.life = anyIdle
		}
		if s.id == "" {
			s.id = anyMachine
		}
		return s, free
	})
	going = move(func(s state, _ *Op) (state, bool) {
		idle := s.idle()
		if s.launch != 0 {
			s.past += string([]byte{byte(s.launch)})
		}
		s.life, s.launch, s.starts = starting, 0, s.starts+1
		return s, idle
	})
	coming  = from(running, starting)
	halting = from(stopping, starting, running)
	ending  = from(stopped, stopping)
	failing = from(stopped, starting)
	falling = from(stopped, starting, running, stopping)
)

func from(to string, states ...string) move {
	return func(s state, _ *Op) (state, bool) {
		ok := slices.Contains(states, s.life)
		s.life = to
		return s, ok
	}
}

// verbs are the moves that lead to what the verb wants, the last one being what
// its success says.
var verbs = map[Verb][]move{
	Create: {making}, Start: {going, coming}, Stop: {halting, ending}, Restart: {halting, ending, going, coming},
	Remove: {removing}, Force: {halting, ending, removing}, Lost: {falling}, Leave: {leaving}, Arrive: {arriving},
}

// optional are the moves that the command may have made, beside its answer.
func (o *Op) optional() []move {
	moves := verbs[o.Verb]
	switch {
	case o.Verb == Repeat && (o.Of == Create || o.Of == Leave):
		return nil // one that was answered is always remembered
	case o.Verb == Repeat:
		return verbs[o.Of]
	case o.Outcome == Unknown || o.Verb == Lost:
		return moves
	case o.Outcome == Refused && o.Tries < 2 && (o.Verb == Create || o.Verb == Remove || o.Verb == Leave || o.Verb == Arrive):
		return nil // "nothing was changed"
	case o.Outcome == Refused:
		return moves // overtaken, or it was done at the first try
	case o.Repeated && (o.Verb == Start || o.Verb == Stop || o.Verb == Restart):
		return moves // it was done at the first try, and more has happened since
	case len(moves) > 0:
		return moves[:len(moves)-1]
	}
	return nil
}

// opens tells whether the command's asking is a step of its own.
func (o *Op) opens() bool {
	return len(o.optional()) > 0 || o.Outcome == Done && (o.Verb == Remove || o.Verb == Force)
}

// mark is how often that had happened which a success of the verb needs.
func (s state) mark(v Verb) uint16 {
	if v == Restart {
		return s.starts
	}
	return s.ends
}

// answered tells whether there was an answer.
func (o *Op) answered() bool { return o.Outcome == Done || o.Outcome == Refused }

// answer is an operation of porcupine's: a command's answer, and what it says
// of a name.
type answer struct {
	op   *Op
	n    int
	seen *Seen // of a list
	of   *names
}

// names is one name's part of a history.
type names struct {
	made     map[string]bool // ids that creates were answered with
	launches map[string]code
}

func (n *names) code(launch string) code {
	if n.launches[launch] == 0 {
		n.launches[launch] = code(len(n.launches)%255 + 1)
	}
	return n.launches[launch]
}

// next are the states in which the answer is right.
func (p answer) next(s state) []state {
	since := s.mark(p.op.Verb)
	if p.op.opens() {
		w, ok := s.opened(p.n)
		if !ok {
			return nil // not before it was asked
		}
		s, since = s.closed(p.n), w.since
	}
	switch o := p.op; {
	case o.Verb == Lost || o.Verb == Repeat:
		return []state{s}
	case o.Verb == List:
		return p.listed(s)
	case o.Outcome == Refused:
		return p.refused(s)
	default:
		return p.done(s, since)
	}
}

// done is what a success says. since is the mark of when it was asked for.
func (p answer) done(s state, since uint16) []state {
	o := p.op
	id := Seen{ID: o.Seen.ID}
	switch o.Verb {
	case Start, Restart, Stop, Remove, Force:
		if o.elsewhere() {
			return []state{s}
		}
	}
	switch o.Verb {
	case Create:
		return only(making(s, o))
	case Inspect:
		return p.observe(s, o.Seen, o.Seen.State)
	case Leave:
		for _, s := range p.observe(s, id, "") {
			return only(leaving(s, o))
		}
		return nil
	case Arrive:
		return only(arriving(s, o))
	case Start, Restart:
		if o.Repeated && o.Seen.ID == "" {
			return []state{s} // it was done once; the machine is gone
		}
		if o.Verb == Restart && s.starts <= since {
			return nil
		}
		if o.Repeated {
			return p.observe(s, o.Seen, o.Seen.State) // done once; this is the machine of now
		}
		s = maybe(coming(s, o))(s)
		return p.observe(s, Seen{ID: o.Seen.ID, Launch: o.Seen.Launch}, running)
	case Stop:
		if o.Repeated {
			return p.observe(s, o.Seen, o.Seen.State)
		}
		s = maybe(ending(s, o))(s)
		return append(p.observe(s, id, stopped), p.observe(s, id, created)...)
	case Remove, Force:
		if !s.there && s.ends > since && (s.gone == "" || id.ID == "" || s.gone == id.ID) {
			return []state{s} // two who remove one machine are both told so
		}
		for _, s := range p.observe(s, id, "") {
			return only(removing(s, o))
		}
	}
	return nil
}

// only is the state after a move, where there is one.
func only(s state, ok bool) []state {
	if !ok {
		return nil
	}
	return []state{s}
}

// maybe is the state after a move where there is one, else the one before.
func maybe(next state, ok bool) func(state) state {
	return func(s state) state {
		if ok {
			return next
		}
		return s
	}
}

// refused is what a refusal says of the state at that time.
func (p answer) refused(s state) []state {
	o := p.op
	taken := (o.Verb == Leave || o.Verb == Arrive) && o.Code == wire.Code_CODE_CONFLICT && o.Seen.State == ""
	switch {
	case taken && o.Verb == Arrive && !s.there: // by nobody
		return nil
	case taken, o.Verb == Arrive, o.elsewhere(): // that is of another name
		return []state{s}
	}
	switch o.Code {
	case wire.Code_CODE_NOT_FOUND:
		if s.there {
			return nil
		}
		return []state{s}
	case wire.Code_CODE_UNAVAILABLE:
		return []state{s}
	case wire.Code_CODE_FAILED:
		return p.observe(maybe(failing(s, o))(s), Seen{}, stopped)
	case wire.Code_CODE_CONFLICT:
		again := o.Tries > 1 && (o.Verb == Start || o.Verb == Restart)
		if again && (o.Seen.State == "" || o.Seen.State == removed) {
			return []state{s} // its machine was removed before it ran, whatever has the name now
		}
	}
	return p.observe(s, Seen{}, o.Seen.State)
}

func (p answer) listed(s state) []state {
	if p.seen != nil {
		return p.observe(s, *p.seen, p.seen.State)
	}
	if s.there {
		return nil
	}
	return []state{s}
}

// observe keeps a state that was seen so, and learns from it.
func (p answer) observe(s state, seen Seen, life string) []state {
	switch {
	case !s.there, life != "" && s.life != life && (s.life != anyIdle || life != created && life != stopped):
		return nil
	case seen.ID == "", seen.ID == s.id:
	case s.id == anyMachine:
		s.id = seen.ID
	case s.id == "" && !p.of.made[seen.ID]:
		s.id = seen.ID
	default:
		return nil
	}
	if s.life == anyIdle && life != "" {
		s.life = life
	}
	if live(life) && seen.Launch != "" {
		c := p.of.code(seen.Launch)
		if s.launch != 0 && s.launch != c || strings.IndexByte(s.past, byte(c)) >= 0 {
			return nil
		}
		s.launch = c
	}
	return []state{s}
}
