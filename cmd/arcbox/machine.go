package main

import (
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// machineJSON is a machine in JSON. Names are only ever added. Sizes are
// bytes, phases milliseconds.
type machineJSON struct {
	Name        string      `json:"name"`
	ID          string      `json:"id"`
	State       string      `json:"state"`
	Since       *time.Time  `json:"since,omitempty"`
	Desired     string      `json:"desired"`
	Health      string      `json:"health"`
	HealthWhy   string      `json:"health_why,omitempty"`
	Backend     string      `json:"backend"`
	Sim         bool        `json:"sim"` // nothing really runs
	Accel       string      `json:"accel,omitempty"`
	AccelNote   string      `json:"accel_note,omitempty"`
	Address     string      `json:"address,omitempty"`
	CPUs        uint32      `json:"cpus"`
	Memory      int64       `json:"memory"`
	Image       string      `json:"image,omitempty"` // digest
	ImageName   string      `json:"image_name,omitempty"`
	Disk        int64       `json:"disk,omitempty"`
	Kernel      string      `json:"kernel,omitempty"`
	Initrd      string      `json:"initrd,omitempty"`
	Cmdline     string      `json:"cmdline,omitempty"`
	Restart     string      `json:"restart,omitempty"`
	Script      string      `json:"script,omitempty"`
	Blocks      []blockJSON `json:"blocks,omitempty"`
	Created     *time.Time  `json:"created,omitempty"`
	Cause       string      `json:"cause,omitempty"` // of the last end
	CauseDetail string      `json:"cause_detail,omitempty"`
	Exited      *time.Time  `json:"exited,omitempty"`
	ExitStatus  int32       `json:"exit_status,omitempty"`
	ConsoleTail string      `json:"console_tail,omitempty"`
	CID         uint32      `json:"cid,omitempty"`
	Launch      string      `json:"launch,omitempty"`
	Ready       *time.Time  `json:"ready,omitempty"`
	// Machine is what its VM is to be built as, "" = auto; Board what it was built
	// as, with the name of the kernel that it booted, and that kernel's release.
	Machine        string           `json:"machine,omitempty"`
	Rosetta        bool             `json:"rosetta,omitempty"`
	Vsock          string           `json:"vsock,omitempty"` // "" = user
	Arch           string           `json:"arch,omitempty"`  // as Go names it
	Board          string           `json:"board,omitempty"`
	LaunchedKernel string           `json:"launched_kernel,omitempty"`
	KernelRelease  string           `json:"kernel_release,omitempty"`
	Phases         map[string]int64 `json:"phases,omitempty"`
	Booted         *time.Time       `json:"booted,omitempty"` // when the init of its image was ready
	BootPhases     map[string]int64 `json:"boot_phases,omitempty"`
	Init           string           `json:"init,omitempty"`
	AgentVersion   string           `json:"agent_version,omitempty"`
	HostVersion    string           `json:"host_version,omitempty"`
	Outdated       bool             `json:"outdated,omitempty"` // its VM host, or its agent, is of another build than the next start's
	GuestBoot      string           `json:"guest_boot,omitempty"`
	Reboots        uint32           `json:"reboots,omitempty"`
	Attempt        uint32           `json:"attempt,omitempty"`
	NotBefore      *time.Time       `json:"not_before,omitempty"`
	Resting        bool             `json:"resting,omitempty"`
	Stray          bool             `json:"stray,omitempty"`
	Damaged        bool             `json:"damaged,omitempty"`
	Saved          *time.Time       `json:"saved,omitempty"`    // when its guest was saved, from which the next start goes on
	GoesOn         *time.Time       `json:"goes_on,omitempty"`  // when the guest was saved that its VM goes on from
	CloneOf        string           `json:"clone_of,omitempty"` // its name then
	CloneOfID      string           `json:"clone_of_id,omitempty"`
	Busy           string           `json:"busy,omitempty"` // what its disk is used for
	Dir            string           `json:"dir,omitempty"`
	RunDir         string           `json:"run_dir,omitempty"`
	Seq            uint64           `json:"seq"`
	Owed           []owedJSON       `json:"owed,omitempty"`
	// Provision is its first-boot set-up.
	Provision *provisionJSON `json:"provision,omitempty"`
	// LaunchedWith is what its VM has, where that is not what the machine will
	// have from its next start on.
	LaunchedWith *sizesJSON        `json:"launched_with,omitempty"`
	Network      *networkJSON      `json:"network,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Protected    bool              `json:"protected,omitempty"` // it can't be removed
	Shares       []shareJSON       `json:"shares,omitempty"`    // of inspect
	DiskUse      *diskUseJSON      `json:"disk_use,omitempty"`  // of inspect
}

type sizesJSON struct {
	CPUs   uint32 `json:"cpus"`
	Memory int64  `json:"memory"`
	Disk   int64  `json:"disk,omitempty"`
}

type owedJSON struct {
	Duty string     `json:"duty"`
	By   *time.Time `json:"by,omitempty"`
	What string     `json:"what,omitempty"`
}

func machineView(m *wire.Machine) machineJSON {
	s := m.GetSpec()
	return machineJSON{
		Name: m.GetName(), ID: m.GetId(), State: m.GetState(), Since: wireTime(m.GetSinceUnixNanos()),
		Desired: m.GetDesired(), Health: m.GetHealth(), HealthWhy: healthWhy(m),
		Backend: s.GetBackend(), Sim: isSim(m), Accel: m.GetAccel(), AccelNote: m.GetAccelNote(), LaunchedKernel: m.GetKernel(), KernelRelease: m.GetKernelRelease(), Board: m.GetBoard(), Address: m.GetAddress(),
		CPUs: s.GetCpus(), Memory: s.GetMemory(), Image: s.GetImage(), ImageName: s.GetImageName(), Disk: s.GetDisk(),
		Kernel: s.GetKernel(), Initrd: s.GetInitrd(), Cmdline: s.GetCmdline(),
		Restart: s.GetRestart(), Script: s.GetScript(), Machine: s.GetBoard(), Arch: s.GetArch(), Rosetta: s.GetRosetta(), Vsock: s.GetVsock(), Blocks: blocksView(s.GetBlocks()), Created: wireTime(m.GetCreatedUnixNanos()),
		Cause: m.GetCause(), CauseDetail: m.GetCauseDetail(), Exited: wireTime(m.GetExitedUnixNanos()),
		ExitStatus: m.GetExitStatus(), ConsoleTail: m.GetConsoleTail(), CID: m.GetCid(), Launch: m.GetLaunch(),
		Booted: wireTime(m.GetBootedUnixNanos()), BootPhases: m.GetBootPhases(), Init: m.GetInit(),
		Ready: wireTime(m.GetReadyUnixNanos()), Phases: m.GetPhases(), AgentVersion: m.GetAgentVersion(),
		HostVersion: m.GetHostVersion(), Outdated: isOutdated(m), GuestBoot: m.GetGuestBoot(), Reboots: m.GetReboots(), Attempt: m.GetAttempt(),
		NotBefore: wireTime(m.GetNotBeforeUnixNanos()), Resting: m.GetResting(), Stray: m.GetStray(), Damaged: m.GetDamaged(), CloneOf: m.GetCloneOf(), Saved: wireTime(m.GetSavedUnixNanos()), GoesOn: wireTime(m.GetGoesOnUnixNanos()), CloneOfID: m.GetCloneOfId(), Busy: m.GetBusy(),
		Dir: m.GetDir(), RunDir: m.GetRunDir(), Seq: m.GetSeq(), Owed: owedView(m.GetOwed()), LaunchedWith: sizesView(m.GetLaunchedWith()),
		Labels: s.GetLabels(), Protected: s.GetProtected(), Network: networkView(m), Shares: sharesView(m), Provision: provisionView(m),
	}
}

func sizesView(s *wire.Spec) *sizesJSON {
	if s == nil {
		return nil
	}
	return &sizesJSON{CPUs: s.GetCpus(), Memory: s.GetMemory(), Disk: s.GetDisk()}
}

func owedView(owed []*wire.Owed) []owedJSON {
	var out []owedJSON
	for _, o := range owed {
		out = append(out, owedJSON{o.GetDuty(), wireTime(o.GetByUnixNanos()), o.GetWhat()})
	}
	return out
}

// wireTime is a time of the wire, nil for none.
func wireTime(unixNanos int64) *time.Time {
	if unixNanos == 0 {
		return nil
	}
	t := time.Unix(0, unixNanos).UTC()
	return &t
}

func isSim(m *wire.Machine) bool { return m.GetSpec().GetBackend() == "sim" }

// healthWhy is the reason of a health that is not ok. A damaged or stray
// machine is never shown without one.
func healthWhy(m *wire.Machine) string {
	switch {
	case m.GetHealthWhy() != "":
		return m.GetHealthWhy()
	case m.GetDamaged():
		return "records of it are unreadable"
	case m.GetStray():
		return "a VM runs that the journal does not know"
	}
	return ""
}

// healthText is health as one cell: "ok", "degraded: why", and nothing of a
// machine that has no VM and nothing wrong with it.
func healthText(m *wire.Machine) string {
	if why := healthWhy(m); why != "" {
		return m.GetHealth() + ": " + why
	}
	if s := m.GetState(); m.GetHealth() == "ok" && (s == "Created" || s == "Stopped") {
		return ""
	}
	return m.GetHealth()
}

// since is how long ago a time of the wire was, for people.
func (a *app) since(unixNanos int64) string {
	if t := wireTime(unixNanos); t != nil {
		return age(a.now().Sub(*t))
	}
	return ""
}
