package linear

import (
	"fmt"
	"hash/maphash"

	"github.com/anishathalye/porcupine"
)

// asked is an operation of porcupine's: a command is sent, and may do something
// from now on, until it is answered.
type asked struct {
	op *Op
	n  int
}

// window is a command that was asked for, in a state's list of open ones: five
// bytes.
type window struct {
	n     int
	at    int    // its next move; those before it are done or left out
	since uint16 // its mark then
}

const windowBytes = 5

func (w window) bytes() []byte {
	return []byte{byte(w.n >> 8), byte(w.n), byte(w.at), byte(w.since >> 8), byte(w.since)}
}

func (s state) window(i int) window {
	b := s.open[i : i+windowBytes]
	return window{int(b[0])<<8 | int(b[1]), int(b[2]), uint16(b[3])<<8 | uint16(b[4])}
}

func (s state) opened(n int) (window, bool) {
	for i := 0; i < len(s.open); i += windowBytes {
		if w := s.window(i); w.n == n {
			return w, true
		}
	}
	return window{}, false
}

func (s state) closed(n int) state {
	for i := 0; i < len(s.open); i += windowBytes {
		if s.window(i).n == n {
			s.open = s.open[:i] + s.open[i+windowBytes:]
			break
		}
	}
	return s
}

// with opens a command. They stand in the order of their numbers, so that two
// states that are the same look the same.
func (s state) with(w window) state {
	i := 0
	for i < len(s.open) && s.window(i).n < w.n {
		i += windowBytes
	}
	s.open = s.open[:i] + string(w.bytes()) + s.open[i:]
	return s
}

// states are all that are possible at one time.
type states struct {
	all  map[state]bool
	hash uint64 // of all, whatever their order
}

var seed = maphash.MakeSeed()

func newStates() *states { return &states{all: map[state]bool{}} }

func (x *states) add(s state) bool {
	if x.all[s] {
		return false
	}
	x.all[s] = true
	x.hash ^= maphash.Comparable(seed, s)
	return true
}

func (x *states) equal(y *states) bool {
	if x.hash != y.hash || len(x.all) != len(y.all) {
		return false
	}
	for s := range x.all {
		if !y.all[s] {
			return false
		}
	}
	return true
}

// reach are the states that the open commands may have led to meanwhile.
func (x *states) reach(ops []Op) *states {
	out := newStates()
	var todo []state
	for s := range x.all {
		out.add(s)
		todo = append(todo, s)
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for i := 0; i < len(s.open); i += windowBytes {
			w := s.window(i)
			moves := ops[w.n].optional()
			for at := w.at; at < len(moves); at++ {
				next, ok := moves[at](s, &ops[w.n])
				if !ok {
					continue
				}
				next = next.closed(w.n).with(window{w.n, at + 1, w.since})
				if out.add(next) {
					todo = append(todo, next)
				}
			}
		}
	}
	return out
}

// nameModel is the sequential model of one name in a history. What is not
// certain (whether a command without an answer did something, and when) is kept
// as a set of states; porcupine looks for an order of the answers.
func (h *History) nameModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any {
			x := newStates()
			x.add(state{})
			return x
		},
		Step: func(before, input, _ any) (bool, any) {
			out := newStates()
			switch p := input.(type) {
			case asked:
				for s := range before.(*states).all {
					out.add(s.with(window{p.n, 0, s.mark(p.op.Verb)}))
				}
			case answer:
				for s := range before.(*states).reach(h.Ops).all {
					for _, next := range p.next(s) {
						out.add(next)
					}
				}
			}
			return len(out.all) > 0, out
		},
		Equal:             func(a, b any) bool { return a.(*states).equal(b.(*states)) },
		Hash:              func(a any) uint64 { return a.(*states).hash },
		DescribeOperation: func(input, _ any) string { return describe(input) },
		DescribeState:     func(a any) string { return a.(*states).describe() },
	}
}

func describe(input any) string {
	switch p := input.(type) {
	case asked:
		return fmt.Sprintf("%s %s is asked for", p.op.Verb, p.op.Name)
	case answer:
		if p.seen != nil {
			return fmt.Sprintf("list: %s %s", p.seen.State, tail(p.seen.ID))
		}
		return p.op.String()
	case sight:
		return fmt.Sprintf("%s: launch %s of %s", p.op.Verb, tail(p.seen.Launch), p.seen.Name)
	}
	return ""
}

// describe is for the picture; a set of many is not for eyes.
func (x *states) describe() string {
	out := fmt.Sprintf("%d possible", len(x.all))
	n := 0
	for s := range x.all {
		if n++; n > 20 {
			return out + " …"
		}
		out += fmt.Sprintf("; %s %s launch %d, %d open", s.life, tail(s.id), s.launch, len(s.open)/windowBytes)
	}
	return out
}
