package journal

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

var makeOld = flag.String("make", "", "write testdata/VERSION anew: only before the first release of that format")

// histories are those of each format.
var histories = map[string]func() []fsm.Record{"v1": v1, "v2": v2, "v3": v3, "v4": v4, "v5": v5, "v6": v6, "v7": v7, "v8": v8}

// kindsNewIn are the kinds that older histories can't have.
var kindsNewIn = map[string][]fsm.Kind{"v4": {fsm.KindProvisioned}, "v6": {fsm.KindRenamed, fsm.KindEgressDenied}, "v7": {fsm.KindPauseRequested, fsm.KindResumeRequested}}

// TestOldJournalOpensForEver opens journals that older engines left behind when
// they were killed. They must read the same with every engine to come: never write
// them anew to make this test pass.
func TestOldJournalOpensForEver(t *testing.T) {
	for version, history := range histories {
		t.Run(version, func(t *testing.T) { opensForEver(t, version, history()) })
	}
}

func opensForEver(t *testing.T, version string, history []fsm.Record) {
	if *makeOld == version {
		writeOld(t, version, history)
	}
	fs := vfs.NewCrashableMem()
	if ok, err := vfs.Clone(vfs.Default, fs, "testdata/"+version, "/j", vfs.CloneSync); !ok || err != nil {
		t.Fatal(ok, err)
	}
	r, err := OpenReadOnly("/j", options(t, fs))
	if err != nil {
		t.Fatal(err)
	}
	readsTheSame(t, version, r)
	es, err := r.Query(Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(es) != len(history) || len(kindsOf(es)) != len(facts)-later(version) {
		t.Errorf("%d records of %d kinds", len(es), len(kindsOf(es)))
	}
	closed(t, r)
	j := open(t, options(t, fs))
	readsTheSame(t, version, j)
	if v, err := j.get(keyFormat); err != nil || len(v) != 1 || v[0] != format {
		t.Errorf("opened for writing, it has format %v, %v", v, err)
	}
	app(t, j, created(1000, "new"))
	closed(t, j)
}

// later is how many kinds there are that a version does not know.
func later(version string) (n int) {
	for in, kinds := range kindsNewIn {
		if in > version {
			n += len(kinds)
		}
	}
	return n
}

func kindsOf(es []Entry) map[fsm.Kind]bool {
	kinds := map[fsm.Kind]bool{}
	for _, e := range es {
		kinds[e.Kind] = true
	}
	return kinds
}

func readsTheSame(t *testing.T, version string, j *Journal) {
	t.Helper()
	got, err := json.MarshalIndent(j.Machines(), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := "testdata/" + version + ".json"
	if *makeOld == version {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
	// Its three machines share one name, which no engine would do.
	rep, err := j.Verify(t.Context())
	if err != nil || len(rep.Faults) != 2 || rep.Records != j.Last() {
		t.Errorf("verify: %+v, %v", rep, err)
	}
	for _, f := range rep.Faults {
		if !strings.Contains(f.What, "already") {
			t.Errorf("fault: %+v", f)
		}
	}
}

// v1 is a history with every kind of format 1.
func v1() []fsm.Record {
	kinds := []fsm.Kind{
		fsm.KindEngineStarted,
		fsm.KindCreated, fsm.KindSpecChanged, fsm.KindDesiredChanged, fsm.KindStartRequested, fsm.KindRelaunched, fsm.KindLaunched,
		fsm.KindDiskFormatted, fsm.KindReady, fsm.KindBooted, fsm.KindRebooted, fsm.KindAddressChanged, fsm.KindHealthChanged,
		fsm.KindStopRequested, fsm.KindStopTightened, fsm.KindStopAbandoned, fsm.KindAdopted, fsm.KindExited,
		fsm.KindStrayFound, fsm.KindStrayGone, fsm.KindStartRequested, fsm.KindRepaired,
		fsm.KindEngineStopped,
	}
	byKind := map[fsm.Kind]fsm.Fact{}
	for _, f := range facts {
		byKind[f.Kind()] = f
	}
	var recs []fsm.Record
	for n := range 3 {
		for _, k := range kinds {
			r := recordOf(byKind[k])
			if r.Machine != "" {
				r.Machine = id(n)
			}
			recs = append(recs, r)
		}
	}
	gone := recordOf(byKind[fsm.KindRemoved])
	gone.Machine = id(1)
	return append(recs, gone)
}

// v2 is one whose machines have an image and a data disk.
func v2() []fsm.Record {
	recs := v1()
	for i, r := range recs {
		switch f := r.Fact.(type) {
		case *fsm.CreatedFact:
			g := *f
			g.Spec = withImage(g.Spec)
			recs[i].Fact = &g
		case *fsm.SpecChangedFact:
			recs[i].Fact = &fsm.SpecChangedFact{Spec: withImage(f.Spec)}
		case *fsm.DiskFormattedFact:
			recs[i].Fact = &fsm.DiskFormattedFact{Disk: f.Disk, Size: 50 << 30}
		}
	}
	return recs
}

// v3 is one whose machines have all that a spec had by then, and an address.
func v3() []fsm.Record {
	recs := v2()
	for i, r := range recs {
		switch f := r.Fact.(type) {
		case *fsm.CreatedFact:
			g := *f
			g.Spec = withAll(g.Spec)
			g.Lease = &fsm.Lease{MAC: "52:54:00:00:00:0" + r.Machine[len(r.Machine)-1:], Address: "10.88.0.1" + r.Machine[len(r.Machine)-1:]}
			recs[i].Fact = &g
		case *fsm.SpecChangedFact:
			recs[i].Fact = &fsm.SpecChangedFact{Spec: withAll(f.Spec)}
		case *fsm.LaunchedFact:
			g := *f
			g.Kernel, g.Release, g.Board = "own", "6.1.0", "microvm"
			recs[i].Fact = &g
		case *fsm.BootedFact:
			g := *f
			g.Init = "/sbin/init"
			recs[i].Fact = &g
		}
	}
	return recs
}

// v4 is one whose machines were set up.
func v4() []fsm.Record {
	var recs []fsm.Record
	for _, r := range v3() {
		switch f := r.Fact.(type) {
		case *fsm.CreatedFact:
			g := *f
			g.Spec.Provision = &fsm.Provision{Kind: fsm.ProvisionScript, Digest: strings.Repeat("0b", 32), Timeout: time.Minute}
			r.Fact = &g
		case *fsm.SpecChangedFact:
			g := *f
			g.Spec.Provision = &fsm.Provision{Kind: fsm.ProvisionScript, Digest: strings.Repeat("0b", 32), Timeout: time.Minute, Round: 1}
			r.Fact = &g
		}
		recs = append(recs, r)
		if r.Kind == fsm.KindReady {
			p := recordOf(&fsm.ProvisionedFact{Round: 1, Status: 3, Took: time.Second, Tail: "t"})
			p.Machine = r.Machine
			recs = append(recs, p)
		}
	}
	return recs
}

// v5 is one whose machines have labels and shares, and are protected, and whose
// guests boot anew when they reboot, those of the second machine to the end.
func v5() []fsm.Record {
	var recs []fsm.Record
	var booted fsm.Record
	for _, r := range v4() {
		switch f := r.Fact.(type) {
		case *fsm.CreatedFact:
			g := *f
			g.Spec = withFive(g.Spec)
			r.Fact = &g
		case *fsm.SpecChangedFact:
			r.Fact = &fsm.SpecChangedFact{Spec: withFive(f.Spec)}
		case *fsm.BootedFact:
			booted = r
		case *fsm.RebootedFact:
			r.Fact = &fsm.RebootedFact{Times: f.Times, Anew: true}
		}
		recs = append(recs, r)
		if r.Kind == fsm.KindRebooted && r.Machine == id(1) {
			recs = append(recs, booted)
		}
	}
	return recs
}

// v6 is one whose machines are clones, were renamed, have automatic ports, an
// architecture and Rosetta, and whose guests tried what they may not.
func v6() []fsm.Record {
	var recs []fsm.Record
	for _, r := range v5() {
		switch f := r.Fact.(type) {
		case *fsm.CreatedFact:
			g := *f
			g.Spec = withSix(g.Spec)
			g.Of = &fsm.Origin{ID: id(9), Name: "first"}
			r.Fact = &g
		case *fsm.SpecChangedFact:
			g := *f
			g.Spec = withSix(g.Spec)
			r.Fact = &g
		case *fsm.RelaunchedFact:
			g := *f
			g.Taken = true
			r.Fact = &g
		}
		if fsm.Moves(r.Kind) && r.Kind != fsm.KindCreated {
			r.Name = "shop"
		}
		recs = append(recs, r)
		if r.Kind == fsm.KindCreated {
			n := recordOf(&fsm.RenamedFact{From: r.Name})
			n.Machine, n.Name = r.Machine, "shop"
			recs = append(recs, n)
		}
		if r.Kind == fsm.KindReady {
			d := recordOf(&fsm.EgressDeniedFact{Denial: fsm.Denial{Protocol: "udp", To: "1.2.3.4:53"}})
			d.Machine = r.Machine
			recs = append(recs, d)
		}
	}
	return recs
}

// v7 is one whose guests were held still, and went on.
func v7() []fsm.Record {
	var recs []fsm.Record
	for _, r := range v6() {
		if recs = append(recs, r); r.Kind != fsm.KindBooted {
			continue
		}
		for _, f := range []fsm.Fact{
			&fsm.PauseRequestedFact{}, &fsm.HealthChangedFact{Health: fsm.Health{Level: fsm.HealthPaused, Why: "by root"}},
			&fsm.ResumeRequestedFact{Why: "w"}, &fsm.HealthChangedFact{Health: fsm.Health{Level: fsm.HealthOK}},
		} {
			p := recordOf(f)
			p.Machine = r.Machine
			recs = append(recs, p)
		}
	}
	return recs
}

// v8 is one whose guests were saved: of the last machine it goes on.
func v8() []fsm.Record {
	var recs []fsm.Record
	saved := map[string]bool{}
	for _, r := range v7() {
		switch f := r.Fact.(type) {
		case *fsm.StopRequestedFact:
			g := *f
			g.Mode = fsm.StopSave
			r.Fact = &g
		case *fsm.ExitedFact:
			g := *f
			g.Cause, saved[r.Machine] = fsm.CauseSaved, true
			r.Fact = &g
		case *fsm.StartRequestedFact:
			g := *f
			g.Saved = saved[r.Machine]
			r.Fact = &g
		}
		if recs = append(recs, r); r.Kind == fsm.KindStartRequested && r.Machine == id(2) && saved[r.Machine] {
			for _, l := range v7() { // as the one before
				if l.Kind == fsm.KindLaunched && l.Machine == r.Machine {
					recs = append(recs, l)
					break
				}
			}
		}
	}
	return recs
}

func withSix(s fsm.Spec) fsm.Spec {
	s.AutoPorts, s.Rosetta, s.Arch, s.Vsock = true, true, "arm64", "kernel"
	s.Ports = append(slices.Clone(s.Ports), fsm.Port{Protocol: "unix", Listen: "/a.sock", To: "/run/a.sock", In: true})
	return s
}

func withFive(s fsm.Spec) fsm.Spec {
	s.Labels, s.Protected = map[string]string{"app": "shop", "tier": ""}, true
	s.Shares = []fsm.Share{{Host: "/src", Guest: "/src"}, {Host: "/out", Guest: "/mnt/out", Writable: true}}
	return s
}

func withAll(s fsm.Spec) fsm.Spec {
	s.Blocks = []fsm.Block{{Path: "/dev/sdz", Serial: "block1"}, {Path: "/pets.img", ReadOnly: true, Serial: "block2"}}
	s.Board, s.Owner, s.Network, s.Egress = "microvm", "01900000-0000-7000-8000-0000000000aa", fsm.NetworkNAT, "deny"
	s.Ports = []fsm.Port{{Protocol: "tcp", Listen: "127.0.0.1:8080", To: "80"}}
	return s
}

// TestNewestHistorySetsAll: what a spec, a creation or a launch can say is in the
// history of this format. A field that is not would be left out in silence by an
// engine of the release before: it needs a new format, and its history here.
func TestNewestHistorySetsAll(t *testing.T) {
	history, ok := histories[fmt.Sprintf("v%d", format)]
	if !ok {
		t.Fatalf("format %d has no history", format)
	}
	for _, r := range history() {
		var all []any
		switch f := r.Fact.(type) {
		case *fsm.CreatedFact:
			all = []any{*f, f.Spec}
		case *fsm.LaunchedFact:
			all = []any{*f}
		case *fsm.RebootedFact:
			all = []any{*f}
		}
		for _, one := range all {
			for i, v := 0, reflect.ValueOf(one); i < v.NumField(); i++ {
				if v.Field(i).IsZero() {
					t.Fatalf("%s: %T has no %s: raise format, and set it in a new history", r.Kind, one, v.Type().Field(i).Name)
				}
			}
		}
	}
}

func withImage(s fsm.Spec) fsm.Spec {
	s.Image, s.ImageName, s.Disk = "sha256:"+strings.Repeat("0a", 32), "debian:12", 50<<30
	return s
}

// writeOld leaves half of the history in tables and snapshots, half in the log.
func writeOld(t *testing.T, version string, recs []fsm.Record) {
	fs := vfs.NewCrashableMem()
	o := options(t, fs)
	for _, part := range [][]fsm.Record{recs[:len(recs)/2], recs[len(recs)/2:]} {
		j := open(t, o)
		for _, r := range part {
			app(t, j, r)
		}
		left := image(t, fs)
		closed(t, j)
		if err := os.RemoveAll("testdata/" + version); err != nil {
			t.Fatal(err)
		}
		if ok, err := vfs.Clone(left, vfs.Default, "/j", "testdata/"+version); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
}
