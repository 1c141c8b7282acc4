package actors

import (
	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// Between the supervisor and the machines' actors.
type (
	// cidWanted asks for a CID; cidReserved answers. It is durable with
	// start-requested, and given back by cidFreed.
	cidWanted   struct{ id string }
	cidReserved struct{ cid uint32 }
	cidFreed    struct {
		id  string
		cid uint32
	}
	// cidKept: a stray holds it.
	cidKept struct {
		id  string
		cid uint32
	}
	// nameFreed: the machine was never created, or is removed and synced.
	nameFreed struct{ id string }
	// cleaned: a removed machine's directory is gone, its actor may go.
	cleaned struct{ id string }
	// bidden is a command that is the supervisor's own, or of which it knows more than
	// the message says.
	bidden struct{ c *command }
	// renamed is the end of a promise: what the machine is called by now.
	renamed struct{ id, name string }
	// passedOn is a request that was carried out before, for a machine which had the
	// name then.
	passedOn struct {
		o journal.Outcome
		c *command
	}
	// cloneReady is a clone that has its disk, if there is one, and no machine yet.
	cloneReady struct {
		*cloning
		stage string
	}
	// lookFirst tells a machine that was never started that it has a directory.
	lookFirst struct{}
)

// Inside a machine's actor: what its workers and timers post to it.
type (
	workDone struct {
		w      *work
		result any
	}
	workSaid struct {
		w    *work
		said any
	}
	giveUp struct{ w *waiter }
)

// verb is what a command asks of a machine.
type verb string

const (
	verbCreate  verb = "create"
	verbStart   verb = "start"
	verbStop    verb = "stop"
	verbRestart verb = "restart"
	verbRemove  verb = "rm"
	verbSet     verb = "set"
	verbAgain   verb = "provision"
	verbRename  verb = "rename"
	verbClone   verb = "clone"
	verbAwait   verb = "wait"
	verbOpen    verb = "open"
	verbLog     verb = "log"
	verbExport  verb = "export"
	verbPause   verb = "pause"
	verbResume  verb = "resume"
	verbSuspend verb = "suspend"
)

// command is a request on its way through the engine.
type command struct {
	verb      verb
	msg       proto.Message
	from      *actor.PID
	principal string
	request   string
	reason    fsm.Reason
	promised  bool // of a rename: the supervisor keeps the new name for it
}

// requester is a message of the wire that carries a Request.
type requester interface{ GetRequest() *wire.Request }

// named is a message of the wire that is about one machine.
type named interface{ GetName() string }

var verbs = map[string]verb{
	"CreateMachine": verbCreate, "StartMachine": verbStart, "StopMachine": verbStop,
	"RestartMachine": verbRestart, "RemoveMachine": verbRemove, "AwaitMachine": verbAwait,
	"SetMachine": verbSet, "ProvisionMachine": verbAgain, "RenameMachine": verbRename, "CloneMachine": verbClone, "OpenGuest": verbOpen, "OpenLog": verbLog,
	"ExportMachine": verbExport, "PauseMachine": verbPause, "ResumeMachine": verbResume, "SuspendMachine": verbSuspend,
}

// commandOf reads a command for one machine out of an actor's context, nil
// where the message is none.
func commandOf(ctx actor.Context) *command {
	msg, ok := ctx.Message().(proto.Message)
	if !ok {
		return nil
	}
	v, ok := verbs[string(msg.ProtoReflect().Descriptor().Name())]
	if !ok {
		return nil
	}
	c := &command{verb: v, msg: msg, from: ctx.Sender(), principal: principalOf(ctx), reason: fsm.ReasonPerson}
	if r, ok := msg.(requester); ok {
		c.request = r.GetRequest().GetId()
	}
	return c
}

// made is the name, as it was asked for, of the machine that the command's record is
// of: of a clone it is the new one.
func (c *command) made() string {
	if msg, ok := c.msg.(*wire.CloneMachine); ok {
		return msg.GetNewName()
	}
	return c.msg.(named).GetName()
}

// envelope is a command as it came, to be sent on.
func (c *command) envelope() *actor.MessageEnvelope {
	return &actor.MessageEnvelope{Header: map[string]string{"principal": c.principal}, Message: c.msg, Sender: c.from}
}

func principalOf(ctx actor.Context) string {
	h := ctx.MessageHeader()
	if h == nil {
		return "engine"
	}
	return or(h.Get("principal"), "engine")
}
