package actors

import (
	"sort"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// pageBytes is how much one page of a list holds, but for its last machine: a
// quarter of what a reply may have.
const pageBytes = wire.MaxReply / 4

// listOnWire is every machine, or a page of them, without what only inspect
// shows.
func listOnWire(s *shared, msg *wire.ListMachines) *wire.Machines {
	seen, version := s.view.List()
	if after := nameKey(msg.GetAfter()); after != "" {
		seen = seen[sort.Search(len(seen), func(i int) bool { return nameKey(seen[i].Name) > after }):]
	}
	out := &wire.Machines{Version: version, Engine: engineOnWire(s)}
	size := 0
	for i, m := range seen {
		w := machineOnWire(s, m, false)
		out.Machines = append(out.Machines, w)
		if size += proto.Size(w); msg.GetPaged() && size >= pageBytes && i < len(seen)-1 {
			out.Next = nameKey(m.Name)
			break
		}
	}
	return out
}

func engineOnWire(s *shared) *wire.EngineInfo {
	seen, _ := s.view.List()
	out := &wire.EngineInfo{
		Version: s.Version, Pid: int32(s.Pid), StartedUnixNanos: s.started.UnixNano(), Home: s.Home,
		Seq: s.Journal.Last(), BootId: s.boot, SimAllowed: s.AllowSim,
		DiskSlow: s.Journal.DiskSlow(), DiskLow: s.Journal.DiskLow(), Machines: uint32(len(seen)),
	}
	for _, m := range seen {
		if awaits["running"](m.Machine) {
			out.Running++
		}
		if m.Unseen {
			out.Unrepaired++
		}
		if m.Damaged {
			out.Damaged++
		}
	}
	return out
}

// machineOnWire is one machine as clients see it. whole adds what a list has
// no room for.
func machineOnWire(s *shared, m *Seen, whole bool) *wire.Machine {
	h := m.health()
	out := &wire.Machine{
		Id: m.ID, Name: m.Name, State: string(m.State), Desired: string(m.Desired),
		Health: string(h.Level), HealthWhy: h.Why, Spec: specOnWire(m.Spec),
		CreatedUnixNanos: nanos(m.Made), SinceUnixNanos: nanos(m.Since), Seq: m.Seq, Cid: m.CID(),
		Stray: m.Stray != nil, Damaged: m.Damaged, Busy: m.Busy,
	}
	if m.Saved != nil {
		out.SavedUnixNanos = nanos(m.Saved.Time)
	}
	if m.Of != nil {
		out.CloneOf, out.CloneOfId = m.Of.Name, m.Of.ID
	}
	if pending(m.Machine) != "" {
		out.LaunchedWith = specOnWire(runsWith(m.Machine))
	}
	out.Provisioned = provisionedOnWire(m.Provisioned, whole)
	launchOnWire(out, m.Launch, whole)
	outdatedOnWire(s, out, m)
	exitOnWire(out, m.Exit, whole)
	if whole {
		out.Dir, out.RunDir = s.Dirs.Path(refOf(m.Machine))
		out.Owed = owedOnWire(s, m)
		out.Network = networkOnWire(s, m.Machine)
		out.Shares = sharesOnWire(m)
	}
	return out
}

// outdatedOnWire says what a machine that runs would have of another build after its
// next start: its VM host, its agent.
func outdatedOnWire(s *shared, out *wire.Machine, m *Seen) {
	if !m.State.Live() {
		return
	}
	if out.HostVersion != "" && out.HostVersion != s.Version {
		out.OutdatedBy = s.Version
	}
	if s.AgentOf == nil || out.AgentVersion == "" {
		return
	}
	if now := s.AgentOf(m.LaunchSpec(), out.Kernel); now != out.AgentVersion {
		out.AgentOutdatedBy = now
	}
}

func launchOnWire(out *wire.Machine, l *fsm.Launch, whole bool) {
	if l == nil {
		return
	}
	out.Launch, out.Address, out.Reboots, out.GoesOnUnixNanos = l.ID, l.Address, uint32(l.Reboots), nanos(l.GoesOn)
	if l.Launched != nil {
		out.Accel, out.AccelNote, out.HostVersion = l.Launched.Accel, l.Launched.Note, l.Launched.Version
		out.Kernel, out.KernelRelease, out.Board = l.Launched.Kernel, l.Launched.Release, l.Launched.Board
	}
	if l.Ready != nil {
		out.AgentVersion = l.Ready.AgentVersion
	}
	if l.Ready != nil && whole {
		out.Phases, out.GuestBoot = l.Ready.Phases, l.Ready.GuestBoot
		out.ReadyUnixNanos = nanos(l.ReadyTime)
	}
	if l.Booted && whole {
		out.BootedUnixNanos = nanos(l.BootedTime)
		if l.BootedAfter != nil { // what came before is in phases
			out.Init, out.BootPhases = l.BootedAfter.Init, l.BootedAfter.Phases
		}
	}
}

func exitOnWire(out *wire.Machine, e *fsm.Exit, whole bool) {
	if e == nil {
		return
	}
	out.Cause, out.ExitStatus, out.ExitedUnixNanos = string(e.Cause), int32(e.Status), nanos(e.Time)
	out.Attempt, out.Resting = uint32(e.Plan.Attempt), e.Plan.Resting
	if e.Plan.Start {
		out.NotBeforeUnixNanos = nanos(e.Plan.NotBefore)
	}
	if whole {
		out.CauseDetail, out.ConsoleTail = e.Detail, e.Tail
	}
}

func specOnWire(s fsm.Spec) *wire.Spec {
	out := &wire.Spec{
		Cpus: uint32(s.CPUs), Memory: s.Memory, Kernel: s.Kernel, Initrd: s.Initrd, Cmdline: s.Cmdline,
		Backend: s.Backend, Restart: string(s.Restart), Accel: s.Accel, Script: s.Script, Board: s.Board, Arch: s.Arch, Rosetta: s.Rosetta, Vsock: s.Vsock,
		Image: s.Image, ImageName: s.ImageName, Disk: s.Disk,
		Owner: s.Owner, Provision: provisionOnWire(s.Provision),
	}
	out.Network, out.Egress, out.AutoPorts = s.Network, s.Egress, s.AutoPorts
	out.Labels, out.Protected = s.Labels, s.Protected
	for _, p := range s.Ports {
		out.Ports = append(out.Ports, portOnWire(p))
	}
	for _, sh := range s.Shares {
		out.Shares = append(out.Shares, shareOnWire(sh))
	}
	for _, b := range s.Blocks {
		out.Blocks = append(out.Blocks, &wire.Block{Path: b.Path, ReadOnly: b.ReadOnly, Serial: b.Serial})
	}
	return out
}

// duties says in words what each duty is.
var duties = map[fsm.DutyKind]string{
	fsm.DutyLaunch:  "its VM host is being started",
	fsm.DutyWatch:   "its VM is watched for its end",
	fsm.DutyReady:   "its agent must answer, or the VM is ended and the machine is Stopped (agent-timeout)",
	fsm.DutyMonitor: "its agent is asked from time to time whether it is well",
	fsm.DutyBooted:  "the init of its image must say that it is ready; however long that takes",
	fsm.DutyStop:    "the guest must have stopped, or it is killed (unless that was forbidden)",
	fsm.DutyGrow:    "its disk is to grow: while it runs where its VM and its guest can, else before its next start",
	fsm.DutyStart:   "it is started again",
	fsm.DutyRemove:  "it is removed",

	fsm.DutyPause:  "its guest is held still until somebody resumes it; what else is owed waits",
	fsm.DutyResume: "its guest is let go on",

	fsm.DutyProvision: "its guest is being set up, and says what came of it",

	fsm.DutyClean: "its directory is deleted",
	fsm.DutyStray: "a VM that should not run must end; stop or rm -f kills it",
}

func owedOnWire(s *shared, m *Seen) []*wire.Owed {
	var out []*wire.Owed
	for _, d := range fsm.Owed(m.Machine) {
		out = append(out, &wire.Owed{Duty: string(d.Kind), What: duties[d.Kind], ByUnixNanos: nanos(s.by(m.Machine, d))})
	}
	return out
}

// by is the wall clock's time of a duty's deadline, zero where it has none.
func (s *shared) by(m fsm.Machine, d fsm.Duty) time.Time {
	now, at := s.Clock.Now(), s.Clock.Moment()
	switch d.Kind {
	case fsm.DutyReady:
		return now.Add(m.Launch.Launched.At.Add(m.Launch.Allowed).Until(at))
	case fsm.DutyStop:
		return now.Add(m.Stop.Deadline.Until(at))
	case fsm.DutyStart:
		return d.NotBefore
	case fsm.DutyLaunch, fsm.DutyWatch, fsm.DutyMonitor, fsm.DutyBooted, fsm.DutyGrow, fsm.DutyPause, fsm.DutyResume, fsm.DutyProvision, fsm.DutyRemove, fsm.DutyClean, fsm.DutyStray:
	}
	return time.Time{}
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
