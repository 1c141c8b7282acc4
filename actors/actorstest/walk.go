package actorstest

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// Walk is one host on which clients ask at random, and things happen at random,
// in any order.
type Walk struct {
	*Engine
	asks  []*asked
	n     int
	jumps int
}

// asked is one request of one client. It may be sent more than once.
type asked struct {
	who, id string
	msg     proto.Message
	name    string        // of the last time it was sent; "" where that engine is dead
	answer  proto.Message // the first one
	again   bool          // it was sent more than once
}

// walkCIDs are few, so that they come round, and more than machines.
const walkCIDs = 6

// NewWalk starts a host and its first engine.
func NewWalk() (*Walk, error) {
	e, err := first(nil, 3+walkCIDs-1)
	return &Walk{Engine: e}, err
}

// Send sends a request, whose answer comes when it comes.
func (w *Walk) Send(who string, make func(*wire.Request) proto.Message) {
	w.n++
	a := &asked{who: who, id: fmt.Sprintf("r%d", w.n)}
	a.msg = make(&wire.Request{Id: a.id})
	a.name = w.Ask(who, a.msg)
	w.asks = append(w.asks, a)
}

// Again sends a request once more, as a client does that was cut off.
func (w *Walk) Again(n int) {
	a := w.asks[n]
	a.again = true
	a.name = w.Ask(a.who, a.msg)
}

// PassOne lets one of the things happen that are held up.
func (w *Walk) PassOne(which func(n int) int) bool {
	synctestWait()
	held := w.World.Gates.Held()
	if len(held) == 0 {
		return false
	}
	w.World.Gates.Pass(held[which(len(held))])
	synctestWait()
	return true
}

// Die kills the engine and starts the next one.
func (w *Walk) Die(a Aftermath) error {
	w.collect()
	next, err := w.Crash(a, nil)
	if err != nil {
		return errors.Join(err, next.Close())
	}
	old := w.Engine
	w.Engine = next
	for _, a := range w.asks {
		a.name = ""
	}
	return old.Close()
}

// collect takes down the answers that came.
func (w *Walk) collect() {
	for _, a := range w.asks {
		if got := w.Answer(a.name); got != nil && a.answer == nil {
			a.answer = got
		}
	}
}

// Judge brings the host to rest and holds everything against the dumb reading
// of its history.
func (w *Walk) Judge() error {
	w.Full.Store(false) // what is owed has to wait for space, for ever if need be
	w.World.BringNetwork()
	if err := w.Rest(nil); err != nil {
		return err
	}
	w.Tick(muteNotice, nil)
	if err := w.Rest(nil); err != nil {
		return err
	}
	w.collect()
	if err := w.Died(); err != nil {
		return fmt.Errorf("the engine ended itself: %w", err)
	}
	records, err := w.Records()
	if err != nil {
		return err
	}
	d := newDumb()
	for _, r := range records {
		if err := d.read(r); err != nil {
			return err
		}
	}
	for _, a := range w.asks {
		if err := kept(a, records); err != nil {
			return err
		}
	}
	return errors.Join(d.agrees(w.Engine), w.Sound())
}

// muteNotice is how long a VM host may be mute unnoticed: two checks, each with
// its time limit.
const muteNotice = 60 * 1e9

// proofs says which record stands behind a Done.
var proofs = map[string][]fsm.Kind{
	"CreateMachine":  {fsm.KindCreated},
	"StartMachine":   {fsm.KindReady},
	"StopMachine":    {fsm.KindExited, fsm.KindRepaired, fsm.KindCreated, fsm.KindStrayGone},
	"RestartMachine": {fsm.KindReady},
	"RemoveMachine":  {fsm.KindRemoved},
	"SetMachine":     {fsm.KindSpecChanged, fsm.KindCreated},
	"SuspendMachine": {fsm.KindExited},
	"PauseMachine":   {fsm.KindPauseRequested},
	"ResumeMachine":  {fsm.KindReady, fsm.KindStopAbandoned},
	"CloneMachine":   {fsm.KindCreated},
	"RenameMachine":  {fsm.KindRenamed, fsm.KindCreated},
}

// overtaken are the records of requests that may be refused when another overtakes them.
var overtaken = []fsm.Kind{fsm.KindStartRequested, fsm.KindStopRequested, fsm.KindStopTightened, fsm.KindPauseRequested, fsm.KindResumeRequested}

// kept: what was answered is in the records, and a refusal left none.
func kept(a *asked, records []fsm.Record) error {
	switch answer := a.answer.(type) {
	case *wire.Done:
		kinds := proofs[string(a.msg.ProtoReflect().Descriptor().Name())]
		for _, r := range records {
			if r.Seq > answer.GetSeq() && !answer.GetRepeated() {
				break
			}
			if id := answer.GetMachine().GetId(); slices.Contains(kinds, r.Kind) && (id == "" || id == r.Machine) {
				return nil
			}
		}
		return fmt.Errorf("%s was told that %v is done at %d: no record of %v", a.who, a.msg, answer.GetSeq(), kinds)
	case *wire.Refused:
		if a.again || answer.GetCode() == wire.Code_CODE_FAILED || answer.GetCode() == wire.Code_CODE_TIMEOUT {
			return nil // it was tried, or accepted another time
		}
		for _, r := range records {
			if r.Request == a.id && r.Principal == a.who && !slices.Contains(overtaken, r.Kind) {
				return fmt.Errorf("%s was refused %v, and there is record %d, %s", a.who, a.msg, r.Seq, r.Kind)
			}
		}
	}
	return nil
}
