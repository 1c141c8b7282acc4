package wire

import (
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Addresses and names as clients write them. Nothing else can be addressed
// from outside.
const (
	Engine     = "engine" // the address; the ids follow
	Supervisor = "supervisor"
	Journal    = "journal"
	Keeper     = "keeper" // of who may come from other hosts
)

// Bounds of one message, in bytes. Whoever has more to say pages it.
const (
	MaxRequest = 1 << 20
	MaxReply   = 4 << 20
)

// Requests lists, for each actor that can be addressed, the messages that it
// takes from outside. A message that is not here never reaches an actor.
func Requests() map[string][]proto.Message {
	return map[string][]proto.Message{
		Supervisor: {
			(*CreateMachine)(nil), (*StartMachine)(nil), (*StopMachine)(nil), (*RestartMachine)(nil),
			(*RemoveMachine)(nil), (*SetMachine)(nil), (*RenameMachine)(nil), (*CloneMachine)(nil), (*ProvisionMachine)(nil), (*PauseMachine)(nil), (*ResumeMachine)(nil), (*SuspendMachine)(nil), (*StopEngine)(nil), (*ListMachines)(nil), (*InspectMachine)(nil),
			(*AwaitMachine)(nil), (*EngineStatus)(nil), (*OpenGuest)(nil), (*OpenLog)(nil),
			(*ExportMachine)(nil), (*StageDisk)(nil),
		},
		Journal: {
			(*QueryJournal)(nil), (*Follow)(nil), (*Grant)(nil), (*Unfollow)(nil), (*WhyMachine)(nil),
			(*VerifyJournal)(nil), (*MachinesAt)(nil), (*DrawTimeline)(nil), (*CountJournal)(nil), (*BackupJournal)(nil),
		},
		Keeper: {(*InviteClient)(nil), (*ListClients)(nil), (*RevokeClient)(nil), (*LendKeys)(nil)},
	}
}

// targets is made on first use: the generated code's init must have run.
var targets = sync.OnceValue(func() map[protoreflect.FullName]string {
	by := map[protoreflect.FullName]string{}
	for target, requests := range Requests() {
		for _, r := range requests {
			by[proto.MessageName(r)] = target
		}
	}
	return by
})

// TargetOf names the actor that takes a request; "" where none does.
func TargetOf(request proto.Message) string { return targets()[proto.MessageName(request)] }

// ExitCode is the CLI's exit code for a refusal.
func (c Code) ExitCode() int {
	switch c {
	case Code_CODE_BAD_INPUT:
		return 2
	case Code_CODE_NOT_FOUND:
		return 3
	case Code_CODE_CONFLICT:
		return 4
	case Code_CODE_TIMEOUT:
		return 5
	case Code_CODE_UNAVAILABLE:
		return 6
	case Code_CODE_UNSAFE:
		return 7
	default: // internal, failed, lacking, and codes of a newer engine
		return 1
	}
}
