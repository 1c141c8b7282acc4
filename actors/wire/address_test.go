package wire_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestEveryRequestHasOneTarget(t *testing.T) {
	seen := map[string]string{}
	for target, requests := range wire.Requests() {
		for _, r := range requests {
			name := string(proto.MessageName(r))
			if other, twice := seen[name]; twice {
				t.Errorf("%s goes to %s and to %s", name, other, target)
			}
			seen[name] = target
			if got := wire.TargetOf(r); got != target {
				t.Errorf("TargetOf(%s) = %q, want %q", name, got, target)
			}
		}
	}
	if got := wire.TargetOf(&wire.Done{}); got != "" {
		t.Errorf("a reply has the target %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	want := map[wire.Code]int{
		wire.Code_CODE_UNSPECIFIED: 1, wire.Code_CODE_INTERNAL: 1, wire.Code_CODE_BAD_INPUT: 2,
		wire.Code_CODE_NOT_FOUND: 3, wire.Code_CODE_CONFLICT: 4, wire.Code_CODE_TIMEOUT: 5,
		wire.Code_CODE_UNAVAILABLE: 6, wire.Code_CODE_UNSAFE: 7, wire.Code_CODE_FAILED: 1, wire.Code_CODE_LACKING: 1, 99: 1,
	}
	for code, exit := range want {
		if got := code.ExitCode(); got != exit {
			t.Errorf("%v exits %d, want %d", code, got, exit)
		}
	}
	for n := range wire.Code_name {
		if _, ok := want[wire.Code(n)]; !ok {
			t.Errorf("code %d has no row here", n)
		}
	}
}
