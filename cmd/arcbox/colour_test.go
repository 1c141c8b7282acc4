package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var colourCode = regexp.MustCompile("\x1b\\[[0-9]*m")

// onTerminal runs a command whose standard output is a terminal of so many columns.
func onTerminal(t *testing.T, columns uint16, env map[string]string, args ...string) string {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 30, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, &fakeEngine{answer: world})
	home := b.env
	b.env = func(name string) string {
		if v, ok := env[name]; ok {
			return v
		}
		return home(name)
	}
	b.stdout = tty
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // ends with an error where the terminal is closed
		read <- string(text)
	}()
	if code := b.run(t, args...); code != 0 {
		t.Errorf("exit %d: %s", code, b.err.String())
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	return <-read
}

// TestListOnATerminal: its rows fit, states have colours, and with NO_COLOR none.
func TestListOnATerminal(t *testing.T) {
	for _, columns := range []uint16{80, 100, 200} {
		coloured := onTerminal(t, columns, nil, "list")
		if !strings.Contains(coloured, "\x1b[32mRunning\x1b[0m") || !strings.Contains(coloured, "\x1b[31mdegraded") {
			t.Errorf("no colours: %q", coloured)
		}
		bare := onTerminal(t, columns, map[string]string{"NO_COLOR": "1"}, "list")
		if strings.Contains(bare, "\x1b") || bare != colourCode.ReplaceAllString(coloured, "") {
			t.Errorf("NO_COLOR: %q\n%q", bare, coloured)
		}
		for line := range strings.Lines(bare) {
			if n := len([]rune(strings.TrimRight(line, "\r\n"))); n > int(columns) {
				t.Errorf("%d columns, and a row of %d: %s", columns, n, line)
			}
		}
	}
	if dumb := onTerminal(t, 80, map[string]string{"TERM": "dumb"}, "list"); strings.Contains(dumb, "\x1b") {
		t.Errorf("%q", dumb)
	}
}

// TestNearestMachine: who slips is told which machine there is.
func TestNearestMachine(t *testing.T) {
	e := &fakeEngine{answer: func(ctx context.Context, msg proto.Message) (proto.Message, error) {
		if _, ok := msg.(*wire.ListMachines); ok {
			return world(ctx, msg)
		}
		return nil, refusal(wire.Code_CODE_NOT_FOUND)
	}}
	for args, want := range map[string]string{"start wbe": "or web?", "inspect dc": "did you mean DB?", "stop nothing-like-it": ""} {
		b := newBench(t, e)
		code := b.run(t, strings.Fields(args)...)
		if has := strings.Contains(b.err.String(), "did you mean"); code != exitNotFound || has != (want != "") || !strings.Contains(b.err.String(), want) || !strings.Contains(b.err.String(), "hint: arcbox list") {
			t.Errorf("%s: exit %d, %s", args, code, b.err.String())
		}
	}
}

// TestManualPages: each command has one, and no one else.
func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man[") // a name, and no pattern
	b := newBench(t, nil)
	if code := b.run(t, "man", dir); code != 0 {
		t.Fatalf("exit %d: %s", code, b.err.String())
	}
	everywhere(newRoot(newBench(t, nil).app), func(c *cobra.Command) {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			return
		}
		page := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		text, err := os.ReadFile(page)
		if err != nil || !strings.Contains(string(text), ".SH SYNOPSIS") || c.HasExample() && !strings.Contains(string(text), ".SH EXAMPLE") {
			t.Errorf("%s: %v", page, err)
		}
	})
}
