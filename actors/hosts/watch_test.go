package hosts

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// TestWatchLeavesNothing: VM hosts that die in the midst of a watch, launch
// after launch, leave one entry a machine, and its removal leaves none.
func TestWatchLeavesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "wat") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := New(Options{Machines: filepath.Join(dir, "m"), Run: dir, Logger: slog.New(slog.DiscardHandler)})
	ref := actors.Ref{ID: "m", Name: "m", RunTag: "t"}
	if err := os.MkdirAll(w.place(ref).RunDir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(w.place(ref).RunDir, api.HostSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	launches := make(chan string, 1)
	go dyingHosts(l, launches)
	for i := range 100 {
		launch := fmt.Sprint("launch-", i)
		launches <- launch
		var said []actors.VMEvent
		err := w.Watch(t.Context(), ref, launch, func(e actors.VMEvent, _ string) { said = append(said, e) })
		if err == nil || len(said) != 2 || said[1] != actors.VMRebooted {
			t.Fatalf("launch %d: %v, %v", i, said, err)
		}
		if after, known := w.lastReported(ref, launch); !known || after != 8 {
			t.Errorf("launch %d: the last event is %d, known: %v", i, after, known)
		}
		if _, known := w.lastReported(ref, "launch-x"); known {
			t.Error("another launch's events are known")
		}
	}
	if len(w.seen) != 1 {
		t.Errorf("%d entries after 100 launches of one machine", len(w.seen))
	}
	if err := w.Delete(context.Background(), ref, nil); err != nil || len(w.seen) != 0 {
		t.Errorf("after its removal: %v, %v", w.seen, err)
	}
}

// dyingHosts plays a VM host for each launch, which ends after one event.
func dyingHosts(l net.Listener, launches <-chan string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		line, _, err := api.ReadLine(c)
		var says []any
		switch {
		case err != nil:
		case strings.Contains(string(line), `"hello"`):
			says = []any{api.Answer{OK: true, Hello: &api.Hello{Machine: "m", Launch: <-launches, CID: 3, Events: 7}}}
		default:
			says = []any{api.Answer{OK: true}, api.Event{Seq: 8, Event: hv.Event{Kind: hv.EventRebooted}}}
		}
		for _, v := range says {
			if out, err := api.Encode(v); err == nil {
				_, _ = c.Write(out)
			}
		}
		_ = c.Close()
	}
}
