package fsm

import (
	"errors"
	"fmt"
	"slices"
)

// Transition is one row of Table 1.
type Transition struct {
	Kind Kind
	From []State
	To   State // Stay where the record leaves the state as it is
	Doc  string
}

// Stay is the To of a record that does not move the state.
const Stay State = ""

// Transitions is Table 1: the whole lifecycle. The diagram, the tests and the
// journal's legality check come from it. A pair of kind and state stands in
// one row at the most.
var Transitions = []Transition{
	{KindCreated, []State{None}, Created, "a machine has a name and a spec"},
	{KindStartRequested, []State{Created, Stopped}, Starting, "a launch was asked for; its lock is held, its CID reserved"},
	{KindRelaunched, []State{Starting}, Starting, "the launch was replaced by another"},
	{KindReady, []State{Starting}, Running, "the agent answered"},
	{KindStopRequested, []State{Starting, Running}, Stopping, "its end was asked for"},
	{KindStopAbandoned, []State{Stopping}, Running, "the guest did not stop and must not be killed"},
	{KindExited, []State{Starting, Running, Stopping}, Stopped, "its VM ended, and this was observed"},
	{KindRepaired, []State{Starting, Running, Stopping}, Stopped, "a booting engine found its VM gone"},
	{KindRemoved, []State{Created, Stopped}, Removed, "the machine is no more; its name is free"},

	{KindLaunched, []State{Starting, Stopping}, Stay, "its VM host answered"},
	{KindAdopted, []State{Starting, Running, Stopping}, Stay, "a booting engine found its VM alive"},
	{KindBooted, []State{Starting, Running, Stopping}, Stay, "the distribution's init is ready"},
	{KindRebooted, []State{Running, Stopping}, Stay, "the guest rebooted"},
	{KindDesiredChanged, []State{Created, Starting, Running, Stopping, Stopped}, Stay, "somebody wants something else of it"},
	{KindStopTightened, []State{Stopping}, Stay, "a stricter stop overtook the one under way"},
	{KindSpecChanged, []State{Created, Starting, Running, Stopping, Stopped}, Stay, "its spec changed"},
	{KindDiskFormatted, []State{Created, Starting, Running, Stopping}, Stay, "a disk was formatted, or came with its machine"},
	{KindAddressChanged, []State{Starting, Running, Stopping}, Stay, "the guest has another address"},
	{KindHealthChanged, []State{Created, Starting, Running, Stopping, Stopped}, Stay, "its health changed"},
	{KindStrayFound, []State{Created, Stopped}, Stay, "a VM runs that should not"},
	{KindStrayGone, []State{Created, Stopped}, Stay, "that VM is gone"},
	{KindProvisioned, []State{Running}, Stay, "its first-boot set-up has a result"},
	{KindRenamed, []State{Created, Stopped}, Stay, "it has another name; the old one is free"},
	{KindEgressDenied, []State{Starting, Running, Stopping}, Stay, "its policy kept its guest from a place, for the first time"},
	{KindPauseRequested, []State{Running}, Stay, "its guest is to be held still"},
	{KindResumeRequested, []State{Running}, Stay, "its guest is to go on"},
}

// ErrIllegal marks a record that Table 1 forbids.
var ErrIllegal = errors.New("fsm: the lifecycle forbids this record")

// Next is the state that a record of this kind leads to from a state, or an
// ErrIllegal.
func Next(from State, k Kind) (State, error) { return step(rows[k], from, k) }

// step is Next by the rows of the kind.
func step(rows []Transition, from State, k Kind) (State, error) {
	for _, t := range rows {
		if !slices.Contains(t.From, from) {
			continue
		}
		if t.To == Stay {
			return from, nil
		}
		return t.To, nil
	}
	return from, fmt.Errorf("%w: %s in state %q", ErrIllegal, k, from)
}

// Moves tells whether records of this kind move a state, even where they lead
// back to the same one.
func Moves(k Kind) bool { return moves(rows[k]) }

func moves(rows []Transition) bool { return len(rows) > 0 && rows[0].To != Stay }

// Claims tells whether records of this kind say which name and CID a machine has
// from there on.
func Claims(k Kind) bool { return Moves(k) || k == KindRenamed }

// rows are those of Table 1, by kind: every fold of every record looks there.
var rows = func() map[Kind][]Transition {
	by := map[Kind][]Transition{}
	for _, t := range Transitions {
		by[t.Kind] = append(by[t.Kind], t)
	}
	return by
}()

// May tells whether Table 1 allows the kind in the state. It is how code
// outside this package asks about states.
func May(from State, k Kind) bool {
	_, err := Next(from, k)
	return err == nil
}
