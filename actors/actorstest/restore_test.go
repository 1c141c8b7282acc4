package actorstest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// restore lets the engine die, puts a backup in the place of its journal, and
// starts the next one.
func (d *day) restore(dir string) {
	d.t.Helper()
	next := d.after(Aftermath{}, nil)
	err := next.disk.RemoveAll(journalDir)
	if err == nil {
		_, err = vfs.Clone(next.disk, next.disk, dir, journalDir, vfs.CloneSync)
	}
	var j *journal.Journal
	if err == nil {
		j, err = journal.Open(journalDir, journal.Options{FS: next.disk, Now: d.Clock.Now, Ballast: -1})
	}
	if err == nil {
		err = actors.Restored(j)
	}
	if err == nil {
		err = j.Close()
	}
	if err == nil {
		err = next.start()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	old := d.Engine
	d.Engine, d.open, d.records = next, nil, 0
	if err := old.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.settle(nil)
}

// lives says which launch lives where.
func (d *day) lives() map[string]string {
	out := map[string]string{}
	for id, vm := range d.World.Lives() {
		out[id] = fmt.Sprint(vm.Launch, " cid ", vm.CID)
	}
	return out
}

// TestRestoredBackupHarmsNoVM: an older journal beside living VMs. They all live
// on, are adopted or found as strays, and no CID of theirs is given to another.
func TestRestoredBackupHarmsNoVM(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, err := NewScenario(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := &day{Scenario: s, t: t, rand: rand.New(rand.NewPCG(1, 2))}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, line := range []string{
			"create known restart=always", "create again restart=always", "create first", "create later restart=on-failure", "create gone",
			"create stopping", "create dead", "script stopping stop=ignored",
			"start known", "start again", "start later", "start stopping", "start dead", "stop later", "stop stopping no-kill timeout=5m &", "tick 1s",
		} {
			d.play(line)
		}
		if b, ok := d.ask(&wire.BackupJournal{Dir: "/backup"}).(*wire.BackedUp); !ok || b.GetRecords() == 0 {
			t.Fatal("no backup", b)
		}
		for _, line := range []string{
			"tick 6m", "restart again", "start first", "start later", "rm gone", "stop dead", "create new", "start new", "create newer", "start newer",
		} {
			d.play(line)
		}
		before := d.lives()
		if len(before) != 7 {
			t.Fatalf("%d VMs live: %v", len(before), before)
		}
		d.restore("/backup")
		d.Tick(20*time.Minute, nil)
		d.stillLive(before)
		want := map[string]string{
			"known": "Running", "again": "Stopped stray", "first": "Created stray", "later": "Stopped stray", "stopping": "Running", "gone": "Created", "dead": "Stopped",
		}
		for _, m := range d.ask(&wire.ListMachines{}).(*wire.Machines).GetMachines() {
			is := m.GetState()
			if m.GetStray() {
				is += " stray"
			}
			if is != want[m.GetName()] {
				t.Errorf("%s is %s, want %s", m.GetName(), is, want[m.GetName()])
			}
			delete(want, m.GetName())
		}
		if len(want) > 0 {
			t.Errorf("not listed: %v", want)
		}
		for n := range 12 { // with CIDs that come round
			d.play(fmt.Sprintf("create x%d", n))
			d.play(fmt.Sprintf("start x%d", n))
		}
		d.stillLive(before)
		for _, what := range d.World.Broken() {
			t.Error(what)
		}
		d.play("stop again")
		d.play("rest")
		d.play("start again")
		if w, ok := d.ask(&wire.WhyMachine{Name: "again"}).(*wire.Why); !ok || !strings.Contains(w.GetSentence(), "Running") {
			t.Error(d.list(), d.news())
		}
	})
}

// stillLive: who lived before lives now.
func (d *day) stillLive(before map[string]string) {
	d.t.Helper()
	now := d.lives()
	for id, vm := range before {
		if now[id] != vm {
			d.t.Errorf("the VM of %s was %s, and is %q", id, vm, now[id])
		}
	}
}
