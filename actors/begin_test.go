package actors

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// vacant is a world whose locks are all free.
type vacant struct{ barren }

type freeLock struct{}

func (freeLock) Close() error { return nil }

func (vacant) Look(context.Context, Ref, string) (Sight, error) {
	return Sight{Found: fsm.Free, Lock: freeLock{}}, nil
}

const firstID, firstLaunch = "01a210ee-6b98-7e15-b402-2be2d0e50029", "01a210ee-6b98-7e15-b402-2be2d0e5002a"

// TestFirstWordsOfAMachine: a machine's actor that has its answer at once, in
// an engine that is still beginning, finds the supervisor to tell it to.
func TestFirstWordsOfAMachine(t *testing.T) {
	for range 5 {
		fs := vfs.NewMem()
		j, err := journal.Open("journal", journal.Options{FS: fs, FreeSpace: func(string) (uint64, error) { return 1 << 40, nil }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Append(
			fsm.Record{Machine: firstID, Name: "a", Kind: fsm.KindCreated, To: fsm.Created, Principal: "uid:0", Fact: &fsm.CreatedFact{RunTag: runTag(firstID)}},
			fsm.Record{Machine: firstID, Name: "a", Kind: fsm.KindStartRequested, To: fsm.Starting, Principal: "uid:0", Launch: firstLaunch, CID: 3,
				Fact: &fsm.StartRequestedFact{Boot: "boot"}},
		)
		if err != nil {
			t.Fatal(err)
		}
		log := &lines{}
		world := vacant{barren{trips: &atomic.Int32{}}}
		e, err := Start(Options{
			Journal: j, Clock: wallClock{}, Hosts: world, Guests: world, Dirs: world,
			Fatal: func(err error) { t.Error(err) }, Log: slog.New(slog.NewTextHandler(log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			if m, _ := e.View().ByID(firstID); m.State == fsm.Stopped {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it was not repaired")
			}
			<-time.After(100 * time.Microsecond)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if n := log.count("panicked"); n != 0 {
			t.Fatalf("its actor panicked %d times", n)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
