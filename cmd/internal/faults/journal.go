package main

// journalFaults are in the journal, and are found there or by the engines on it.
var journalFaults = []fault{
	{
		name:   "reply before sync",
		breaks: "nothing acknowledged is lost",
		file:   "journal/writer.go",
		was: `		if a.batch != nil {
			j.sync(a)
			j.publish(a)
		}
		for _, r := range a.reqs {
			close(r.done)
		}
`,
		now: `		for _, r := range a.reqs {
			close(r.done)
		}
		if a.batch != nil {
			j.sync(a)
			j.publish(a)
		}
`,
		pkg: "./actors/actorstest", run: "TestCrashAtEveryStep/names",
	},
	{
		name:   "records read before sync",
		breaks: "nothing is shown that a crash can take back",
		file:   "journal/writer.go",
		was: `			j.sync(a)
			j.publish(a)
`,
		now: `			j.publish(a)
			j.sync(a)
`,
		pkg: "./journal", run: "TestASlowDiskShows",
	},
	{
		name:   "disk error survived",
		breaks: "nothing acknowledged is lost",
		file:   "journal/writer.go",
		was: `	if err := errors.Join(a.batch.SyncWait(), a.batch.Close()); err != nil {
		j.o.fatal(fmt.Errorf("journal: commit: %w", err))
	}
`,
		now: `	_ = errors.Join(a.batch.SyncWait(), a.batch.Close())
`,
		pkg: "./journal", run: "TestDiskErrorsEndTheEngine",
	},
	{
		name:   "head file not written before reply",
		breaks: "damage is reported, never skipped in silence",
		file:   "journal/writer.go",
		was: `	if err := j.head.write(a.seq, a.hash); err != nil {
		j.o.fatal(fmt.Errorf("journal: %w", err))
	}
`,
		now: ``,
		pkg: "./journal", run: "TestALostEnd",
	},
	{
		name:   "head file's hash not compared",
		breaks: "damage is reported, never skipped in silence",
		file:   "journal/load.go",
		was: `	case seq > 0 && sum != j.hashOf(seq, e):
`,
		now: `	case seq > 0 && sum == (hash{}):
`,
		pkg: "./journal", run: "TestAnotherHead",
	},
	{
		name:   "snapshot one record ahead",
		breaks: "what is folded is what was recorded",
		file:   "journal/writer.go",
		was: `	v, err := encodeSnapshot(*m)
`,
		now: `	ahead := *m
	ahead.Seq++
	v, err := encodeSnapshot(ahead)
`,
		pkg: "./journal", run: "TestSnapshotsFollowTheHistory",
	},
	{
		name:   "hash chain not checked",
		breaks: "damage is reported, never skipped in silence",
		file:   "journal/verify.go",
		was: `		if v.chained && (len(s.value) < hashSize || !bytes.Equal(s.value[len(s.value)-hashSize:], v.before[:])) {
`,
		now: `		if v.chained && len(s.value) < hashSize && !bytes.Equal(s.value, v.before[:]) {
`,
		pkg: "./journal", run: "TestVerifyFindsPlantedFaults",
	},
	{
		name:   "quarantine ignored",
		breaks: "a machine with an unreadable record is blocked until repair",
		file:   "journal/fold.go",
		was: `			m.ID, m.Seq, m.Damaged = id, seq, true
`,
		now: `			m.ID, m.Seq = id, seq
`,
		pkg: "./journal", run: "TestQuarantine",
	},
	{
		name:   "forbidden record appended",
		breaks: "every history is legal",
		file:   "journal/writer.go",
		was: `		if err == nil {
			m, err = was.Apply(*r)
		}
`,
		now: `		if err == nil {
			m, _ = was.Apply(*r)
		}
`,
		pkg: "./journal", run: "TestARemovedMachineIsRememberedAndItsIdNotReused",
	},
}
