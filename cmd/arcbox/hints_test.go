package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest"
)

// TestEveryErrorHasANextCommand: whatever a verb is answered, a person is told what
// to try next, also where the engine is older and names nothing, and where it was no
// refusal at all.
func TestEveryErrorHasANextCommand(t *testing.T) {
	bad := map[string]error{
		"of nobody": errors.New("something is odd"),
		"a file":    &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission},
		"muted":     client.ErrMute, "cut": client.ErrDisconnected, "shut": client.ErrShut,
	}
	for n, name := range wire.Code_name {
		if code := wire.Code(n); code != wire.Code_CODE_UNSPECIFIED {
			bad[name] = &client.RefusedError{Code: code, Message: "no"}
		}
	}
	for what, err := range bad {
		for _, verb := range []string{
			"start web", "stop web", "rm web", "inspect web", "wait web agent", "create web", "ping web", "logs web", "list", "exec web true", "shell web -- true",
			"set web --cpus 1", "rename web shop", "protect web", "port ls web", "port add web 8080:80", "provision web", "info web", "journal", "journal why web",
			"journal verify", "journal stats", "journal backup /b", "engine status", "engine clients", "engine invite --name a", "engine revoke a",
		} {
			b := newBench(t, answers(nil, err))
			if code := b.run(t, strings.Fields(verb)...); code == 0 {
				t.Errorf("%s, %s: exit 0", verb, what)
			}
			if said := b.err.String(); !strings.Contains(said, "\nhint: arcbox ") {
				t.Errorf("%s, %s: no next command in %q", verb, what, said)
			}
		}
	}
}

// TestWithNext: what has no remedy of its own is looked for on this host, or in the
// command's help, and a program's own end is nobody's fault here.
func TestWithNext(t *testing.T) {
	cmd, _, err := newRoot(newBench(t, nil).app).Find([]string{"list"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		hint string
	}{
		{errors.New("odd"), "arcbox doctor"},
		{badInput("x", "bad"), "arcbox help list"},
		{&failure{code: exitNotFound, message: "no such thing"}, "arcbox help list"},
		{&failure{code: exitGeneral, message: "known", hint: "arcbox ping web"}, "arcbox ping web"},
		{&failure{code: exitTimeLimit, message: "killed", passed: true}, ""},
		{&failure{code: exitInterrupted, message: "detached"}, ""},
		{exitWith(3), ""},
	} {
		f := understood(withNext(cmd, c.err))
		if f.hint != c.hint {
			t.Errorf("%v: hint %q, want %q", c.err, f.hint, c.hint)
		}
	}
	gone := lost("web", fmt.Errorf("guest agent: exec: %w", guest.ErrGone))
	if f := understood(gone); f.hint != "arcbox journal why web" || f.machine != "web" || !errors.Is(gone, guest.ErrGone) {
		t.Errorf("an agent that is gone: %+v", f)
	}
	if other := errors.New("x"); !slices.Equal([]error{lost("web", other), lost("web", nil)}, []error{other, nil}) {
		t.Error("what is no loss is changed")
	}
}
