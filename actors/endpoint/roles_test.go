package endpoint

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/endpoint/trust"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// TestRolesByVerbs: who may what, line by line. A new message fails here until it
// has one.
func TestRolesByVerbs(t *testing.T) {
	table := map[string]string{ // viewer, admin, owner: y may, - may not
		"ListMachines": "yyy", "InspectMachine": "yyy", "AwaitMachine": "yyy", "EngineStatus": "yyy",
		"QueryJournal": "yyy", "Follow": "yyy", "Grant": "yyy", "Unfollow": "yyy", "WhyMachine": "yyy", "MachinesAt": "yyy", "DrawTimeline": "yyy", "CountJournal": "yyy",
		"CreateMachine": "-yy", "StartMachine": "-yy", "StopMachine": "-yy", "RestartMachine": "-yy", "RemoveMachine": "-yy", "SetMachine": "-yy",
		"ProvisionMachine": "-yy", "PauseMachine": "-yy", "ResumeMachine": "-yy", "SuspendMachine": "-yy", "RenameMachine": "-yy", "CloneMachine": "-yy", "OpenGuest": "-yy", "OpenLog": "-yy", "StopEngine": "-yy", "VerifyJournal": "-yy", "ListClients": "-yy",
		"ExportMachine": "-yy", "StageDisk": "-yy", "LendKeys": "-yy",
		"BackupJournal": "--y", "InviteClient": "--y", "RevokeClient": "--y",
	}
	roles := []string{trust.Viewer, trust.Admin, owner}
	seen := 0
	for _, messages := range wire.Requests() {
		for _, m := range messages {
			name := string(proto.MessageName(m).Name())
			want, ok := table[name]
			if !ok {
				t.Errorf("%s has no line", name)
				continue
			}
			seen++
			for i, role := range roles {
				r := denied(role, m)
				if (r == nil) != (want[i] == 'y') {
					t.Errorf("%s as %s: %v, want %c", name, role, r, want[i])
				}
				if r != nil && (r.Code != wire.Code_CODE_UNSAFE || r.Hint == "" || !strings.Contains(r.Message, role)) {
					t.Errorf("%s as %s is refused with %v", name, role, r)
				}
			}
			if denied("", m) == nil || denied("root", m) == nil {
				t.Errorf("%s is for a role that is none", name)
			}
		}
	}
	if seen != len(table) {
		t.Errorf("the table has %d lines, %d messages are known", len(table), seen)
	}
	if !slices.Equal(roles, []string{"viewer", "admin", "owner"}) || denied(trust.Admin, &wire.Done{}) == nil {
		t.Error("what is not known is not the owner's")
	}
}
