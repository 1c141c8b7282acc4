package main

// engineFaults are in the lifecycle and in the actors.
var engineFaults = []fault{
	{
		name:   "view published before sync",
		breaks: "nothing is shown that a crash can take back",
		file:   "actors/machine.go",
		was: `	stored, err := m.Journal.Append(recs...)
`,
		now: `	ahead := m.state()
	ahead.State = state
	m.view.publish(&Seen{Machine: ahead, Unseen: m.unseen})
	stored, err := m.Journal.Append(recs...)
`,
		pkg: "./actors/actorstest", run: "TestCrashAtEveryStep/names",
	},
	{
		name:   "a launch that is replaced takes the new spec",
		breaks: "a VM keeps what it was started with until the next start",
		file:   "fsm/machine.go",
		was: `	if m.Launch != nil && m.Launch.Spec != nil {
		return *m.Launch.Spec
	}
`,
		now: ``,
		pkg: "./fsm", run: "TestSpecChanged",
	},
	{
		name:   "set answers before the policy is in force",
		breaks: "a policy that was set holds",
		file:   "actors/egress.go",
		was: `	if msg.GetEgress() == "" || m.wish(st) == nil || m.inForce(st) {
`,
		now: `	if msg.GetEgress() != "" || m.wish(st) == nil || m.inForce(st) {
`,
		pkg: "./actors/actorstest", run: "TestScenarios/egress",
	},
	{
		name:   "a stop leaves a paused guest as it is",
		breaks: "from every state a machine can be stopped",
		file:   "fsm/machine.go",
		was: `	if f.Mode == StopGraceful && m.Paused() { // a guest that is held still can't shut down
`,
		now: `	if f.Mode == StopGraceful && !m.Paused() {
`,
		pkg: "./actors/actorstest", run: "TestScenarios/pause",
	},
	{
		name:   "a guest that was saved goes on twice",
		breaks: "a saved guest is never older than its disk",
		file:   "fsm/saved.go",
		was: `	if m.GoesOn() {
		m.Saved = nil
`,
		now: `	if m.GoesOn() && !m.Launch.Booted {
		m.Saved = nil
`,
		pkg: "./fsm", run: "TestSaved",
	},
	{
		name:   "a start that boots keeps the guest that was saved",
		breaks: "a saved guest is never older than its disk",
		file:   "fsm/machine.go",
		was: `	} else {
		m.Saved = nil
	}
`,
		now: `	}
`,
		pkg: "./actors/actorstest", run: "TestCrashAtEveryStep/suspend",
	},
	{
		name:   "a suspend is answered before the guest is saved",
		breaks: "nothing acknowledged is lost",
		file:   "actors/suspend.go",
		was: `	}); err != nil {
		return err
	}
	return m.await(c)
`,
		now: `	}); err != nil {
		return err
	}
	m.finish(c, "")
	return nil
`,
		pkg: "./actors/actorstest", run: "TestSuspend",
	},
	{
		name:   "a pause is told before the guest is held still",
		breaks: "it never lies",
		file:   "actors/pause.go",
		was: `	m.answerSets() // what of them is owed waits until the guest goes on
	return m.await(c)
`,
		now: `	m.finish(c, "")
	return nil
`,
		pkg: "./actors/actorstest", run: "TestPause",
	},
	{
		name:   "a mute VM host takes a pause back that was had",
		breaks: "what somebody paused goes on when somebody says so",
		file:   "actors/pause.go",
		was: `			if err != nil && !was {
`,
		now: `			if err != nil && (was || !was) {
`,
		pkg: "./actors/actorstest", run: "TestPause",
	},
	{
		name:   "denials without end",
		breaks: "a guest can't fill the journal",
		file:   "fsm/denial.go",
		was: `		if len(known) < MaxDenials && !slices.Contains(known, d) {
`,
		now: `		if !slices.Contains(known, d) {
`,
		pkg: "./fsm", run: "TestDenials",
	},
	{
		name:   "name freed before removed is synced",
		breaks: "a name has one machine",
		file:   "actors/machine.go",
		was: `	stored, err := m.Journal.Append(recs...)
`,
		now: `	if state == fsm.Removed {
		m.send(m.sup, nameFreed{m.ref.ID})
	}
	stored, err := m.Journal.Append(recs...)
`,
		pkg: "./actors/actorstest", run: "TestScenarios/names",
	},
	{
		name:   "CID freed at stop-requested",
		breaks: "no two live VMs share a CID",
		file:   "actors/commands.go",
		was: `	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: fact}); err != nil {
		return err
	}
`,
		now: `	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: fact}); err != nil {
		return err
	}
	m.send(m.sup, cidFreed{m.ref.ID, m.state().CID()})
`,
		pkg: "./actors/actorstest", run: "TestScenarios/cids",
	},
	{
		name:   "booted counts for the boot behind it",
		breaks: "it never lies",
		file:   "actors/pace.go",
		was: `		f := &fsm.RebootedFact{Anew: true}
`,
		now: `		f := &fsm.RebootedFact{}
`,
		pkg: "./actors/actorstest", run: "TestScenarios/reboot",
	},
	{
		name:   "a lost share is told of by nobody",
		breaks: "it never lies",
		file:   "actors/results.go",
		was: `	case VMShare:
		m.askShares()
`,
		now: `	case VMShare:
`,
		pkg: "./actors/actorstest", run: "TestScenarios/shares",
	},
	{
		name:   "a lost share hides an agent that does not answer",
		breaks: "it never lies",
		file:   "actors/results.go",
		was: `	case err != nil && (h.Level == fsm.HealthOK || h == well || h.Why == m.trouble()): // nothing worse was told
`,
		now: `	case err != nil && (h.Level == fsm.HealthOK || h == well):
`,
		pkg: "./actors/actorstest", run: "TestScenarios/shares",
	},
	{
		name:   "half a create is left by a crash",
		breaks: "the next boot resolves every half-done operation by itself",
		file:   "actors/boot.go",
		was: `		if s.Provisions != nil {
			err = s.Provisions.Forget(ctx, ref)
		}
`,
		now: ``,
		pkg: "./actors/actorstest", run: "TestCrashAtEveryStep/provision-unkept",
	},
	{
		name:   "CID of a stray given away",
		breaks: "no two live VMs share a CID",
		file:   "actors/boot.go",
		was: `	if cid != 0 {
		m.send(m.sup, cidKept{m.ref.ID, cid})
	}
`,
		now: ``,
		pkg: "./actors/actorstest", run: "TestScenarios/stray",
	},
	{
		name:   "late result of an older record accepted",
		breaks: "a worker's result counts for the record that owed it",
		file:   "actors/results.go",
		was: `		if w.called && w.duty.Kind != fsm.DutyLaunch {
			delete(m.work, w.duty)
			m.discard(d.result)
		} else {
			m.dutyDone(w, d.result)
		}
`,
		now: `		m.dutyDone(w, d.result)
`,
		pkg: "./actors/actorstest", run: "TestScenarios/hangs",
	},
	{
		name:   "kill waits behind the boot",
		breaks: "a kill overtakes a boot",
		file:   "actors/commands.go",
		was: `	if m.waits(c) || m.start != nil || m.making != nil || m.moving != "" || m.givingUp() {
`,
		now: `	if m.waits(c) || m.start != nil || m.making != nil || m.moving != "" || m.givingUp() || fsm.May(m.state().State, fsm.KindReady) {
`,
		pkg: "./actors/actorstest", run: "TestScenarios/kill",
	},
	{
		name:   "request id forgotten",
		breaks: "a repeat of a request does nothing twice",
		file:   "actors/commands.go",
		was: `	if done, err := m.repeated(c); done || err != nil {
		return err
	}
`,
		now: ``,
		pkg: "./actors/actorstest", run: "TestScenarios/requests",
	},
	{
		name:   "exit note ignored",
		breaks: "a guest that powered off unseen is not taken for a crash",
		file:   "actors/boot.go",
		was: `		fsm.RemedyExited:        (*machine).repairExited,
`,
		now: `		fsm.RemedyExited:        (*machine).repairRepaired,
`,
		pkg: "./actors/actorstest", run: "TestScenarios/adopt",
	},
	{
		name:   "exit note of another launch believed",
		breaks: "the cause is the true one",
		file:   "actors/hosts/hosts.go",
		was: `		if f.Note != nil && f.Note.Launch == launch {
`,
		now: `		if f.Note != nil {
`,
		pkg: "./actors/hosts", run: "TestNoteIsOfItsLaunch",
	},
	{
		name:   "repair skipped for Stopping",
		breaks: "after a crash the next boot resolves every half-done operation",
		file:   "fsm/repair.go",
		was: `	{[]State{Starting, Running, Stopping}, [5]Remedy{RemedyExited, RemedyRepaired, RemedyAdopt, RemedyRepairedStray, RemedyWait}},
`,
		now: `	{[]State{Starting, Running}, [5]Remedy{RemedyExited, RemedyRepaired, RemedyAdopt, RemedyRepairedStray, RemedyWait}},
`,
		pkg: "./fsm", run: "TestRepairIsTotal",
	},
	{
		name:   "restart policy against a person's stop",
		breaks: "a person's stop wins until a person starts it again",
		file:   "fsm/restart.go",
		was: `	if m.Desired != DesiredRunning || !ShouldRestart(m.Spec.Restart, c, stop, w) {
`,
		now: `	if !ShouldRestart(m.Spec.Restart, c, stop, w) {
`,
		pkg: "./fsm", run: "TestPlanBacksOffAndRests",
	},
	{
		name:   "an engine's stop taken for a person's",
		breaks: "what the engine's end stopped, the next engine starts again",
		file:   "fsm/machine.go",
		was: `	case ReasonPerson, ReasonRestart, ReasonRemove:
		m.Desired = d
	case ReasonEngineStop, ReasonHostShutdown, ReasonPolicy:
`,
		now: `	case ReasonPerson, ReasonRestart, ReasonRemove, ReasonEngineStop:
		m.Desired = d
	case ReasonHostShutdown, ReasonPolicy:
`,
		pkg: "./actors/actorstest", run: "TestScenarios/engine",
	},
	{
		name:   "a later deadline loosens a stop",
		breaks: "a stop ends when it was said to",
		file:   "actors/commands.go",
		was: `	if want.Deadline.Until(old.Deadline) < 0 {
`,
		now: `	if want.Deadline.Until(old.Deadline) != 0 {
`,
		pkg: "./actors/actorstest", run: "TestScenarios/tightened",
	},
	{
		name:   "deadline held against a machine just adopted",
		breaks: "ten seconds and a probe precede a timeout after adoption",
		file:   "actors/machine.go",
		was: `		left = max(left, l.Adopted.Add(adoptionGrace).Until(m.Clock.Moment()))
`,
		now: ``,
		pkg: "./actors/actorstest", run: "TestScenarios/grace",
	},
	{
		name:   "a person's stop not remembered",
		breaks: "a person's stop wins until a person starts it again",
		file:   "fsm/machine.go",
		was: `		NoKill: f.NoKill, Then: f.Then, Was: m.Desired, Time: r.Time,
	}
	m.want(r.Reason, wantedAfter(f.Then))
`,
		now: `		NoKill: f.NoKill, Then: f.Then, Was: m.Desired, Time: r.Time,
	}
`,
		pkg: "./actors/actorstest", run: "TestScenarios/hangs",
	},
}
