package endpoint

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/arcboxlabs/arcbox-engine/actors/endpoint/trust"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// owner is the role of this host's peers: the engine's own user and root.
const owner = "owner"

// level orders the roles: who has one may do what those below it may.
var level = map[string]int{trust.Viewer: 1, trust.Admin: 2, owner: 3}

// least is the role that each message needs. A message without a line needs the
// highest: what is new is nobody's from elsewhere before it was thought about.
var least = map[protoreflect.FullName]string{}

func init() {
	for role, messages := range map[string][]proto.Message{
		trust.Viewer: {
			(*wire.ListMachines)(nil), (*wire.InspectMachine)(nil), (*wire.AwaitMachine)(nil), (*wire.EngineStatus)(nil),
			(*wire.QueryJournal)(nil), (*wire.Follow)(nil), (*wire.Grant)(nil), (*wire.Unfollow)(nil), (*wire.WhyMachine)(nil),
			(*wire.MachinesAt)(nil), (*wire.DrawTimeline)(nil), (*wire.CountJournal)(nil),
		},
		trust.Admin: {
			(*wire.CreateMachine)(nil), (*wire.StartMachine)(nil), (*wire.StopMachine)(nil), (*wire.RestartMachine)(nil),
			(*wire.RemoveMachine)(nil), (*wire.SetMachine)(nil), (*wire.RenameMachine)(nil), (*wire.CloneMachine)(nil), (*wire.ProvisionMachine)(nil), (*wire.PauseMachine)(nil), (*wire.ResumeMachine)(nil), (*wire.SuspendMachine)(nil), (*wire.OpenGuest)(nil), (*wire.OpenLog)(nil),
			(*wire.VerifyJournal)(nil), (*wire.ListClients)(nil), (*wire.StopEngine)(nil),
			(*wire.ExportMachine)(nil), (*wire.StageDisk)(nil), (*wire.LendKeys)(nil),
		},
		owner: {(*wire.BackupJournal)(nil), (*wire.InviteClient)(nil), (*wire.RevokeClient)(nil)},
	} {
		for _, m := range messages {
			least[proto.MessageName(m)] = role
		}
	}
}

// denied refuses what a role may not ask; nil where it may.
func denied(role string, m proto.Message) *wire.Refused {
	need, known := least[proto.MessageName(m)]
	if !known {
		need = owner
	}
	if level[role] >= level[need] {
		return nil
	}
	r := &wire.Refused{Code: wire.Code_CODE_UNSAFE, Message: fmt.Sprintf("%s is for the role %s, and this client's is %s", proto.MessageName(m).Name(), need, role)}
	if r.Hint = "arcbox engine invite --role " + need + ", on the engine's host"; need == owner {
		r.Message = fmt.Sprintf("%s is for the engine's own user on its own host, and this client's role is %s", proto.MessageName(m).Name(), role)
		r.Hint = "type it on the engine's host"
	}
	return r
}
