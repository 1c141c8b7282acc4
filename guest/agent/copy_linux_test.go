package agent

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func TestCopyIsBounded(t *testing.T) {
	ctx, c := serve(t, func(a *Agent) { a.copies = make(chan struct{}) })
	out, err := c.CopyOut(ctx, &wire.CopyOutRequest{Path: []byte("/")})
	if err == nil {
		_, err = out.Recv()
	}
	wantCode(t, err, codes.ResourceExhausted, "copies go through the agent already")
	in, err := c.CopyIn(ctx)
	if err == nil {
		_, err = in.CloseAndRecv()
	}
	wantCode(t, err, codes.ResourceExhausted, "copies go through the agent already")
}

func TestCopyInRefusesBadMessages(t *testing.T) {
	ctx, c := serve(t, nil)
	start := &wire.CopyInRequest{Msg: &wire.CopyInRequest_Start{Start: &wire.CopyInStart{Path: []byte(t.TempDir()), Name: []byte("x")}}}
	for name, test := range map[string]struct {
		msgs []*wire.CopyInRequest
		part string
	}{
		"no start":     {[]*wire.CopyInRequest{{Msg: &wire.CopyInRequest_Part{Part: &wire.CopyPart{}}}}, "start: missing"},
		"two starts":   {[]*wire.CopyInRequest{start, start}, "want a part"},
		"nothing else": {[]*wire.CopyInRequest{start}, "end too early"},
		"no part":      {[]*wire.CopyInRequest{start, {}}, "want a part"},
	} {
		stream, err := c.CopyIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range test.msgs {
			if stream.Send(msg) != nil {
				break // the answer is there
			}
		}
		_, err = stream.CloseAndRecv()
		t.Run(name, func(t *testing.T) { wantCode(t, err, codes.InvalidArgument, test.part) })
	}
}

func TestCopyPath(t *testing.T) {
	for _, test := range []struct{ path, user, want string }{
		{"/etc/x", "", "/etc/x"}, {"/srv/", "", "/srv/"}, {"x", "5000", "/x"}, {"", "5000", "/."}, {"d/", "5000", "/d/"}, {"../x", "5000", "/../x"},
	} {
		if got, _, err := copyPath(test.path, test.user); err != nil || got != test.want {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
