package main

// hostFaults are in the VM host and its devices, in the guest, and at the
// engine's socket.
var hostFaults = []fault{
	{
		name:   "lock not handed to QEMU by the VM host",
		breaks: "the lock is free when the last process of the VM is dead",
		file:   "hv/vmhost/host.go",
		was: `		Lock: h.lock, Fork: h.forks.start, Console: console, AgentLog: agentLog,
`,
		now: `		Lock: os.Stderr, Fork: h.forks.start, Console: console, AgentLog: agentLog,
`,
		pkg: "./hv/vmhost", run: "TestHypervisorHoldsTheLock",
	},
	{
		name:   "lock not handed to QEMU by the driver",
		breaks: "the lock is free when the last process of the VM is dead",
		file:   "hv/qemu/wires_linux.go",
		was: `	w.theirs[fdNull], w.theirs[fdLock] = null, w.lock
`,
		now: `	w.theirs[fdNull], w.theirs[fdLock] = null, null
`,
		pkg: "./hv/qemu", run: "TestQEMUHoldsTheLockUntilItIsDead",
	},
	{
		name:   "any descriptor taken for the lock",
		breaks: "a VM runs under its machine's lock",
		file:   "hv/process/start.go",
		was: `	if !held.Mode().IsRegular() || !os.SameFile(held, onDisk) {
`,
		now: `	if !held.Mode().IsRegular() || onDisk == nil {
`,
		pkg: "./hv/vmhost", run: "TestWrongLock",
	},
	{
		name:   "QEMU outlives its VM host",
		breaks: "a VM ends with its VM host",
		file:   "hv/vmhost/sys_linux.go",
		was: `	sys.Pdeathsig = syscall.SIGKILL
`,
		now: `	sys.Pdeathsig = 0
`,
		pkg: "./hv/vmhost", run: "TestLockHandedDown",
	},
	{
		name:   "kill waits for the VM's start",
		breaks: "a machine can be stopped at any time",
		file:   "hv/vmhost/serve.go",
		was: `	if req.Op == api.OpKill {
		h.beginKill()
		return ignore(c.send(api.Answer{OK: true}))
	}
	if err := h.awaitVM(ctx, c); err != nil {
		return err
	}
`,
		now: `	if err := h.awaitVM(ctx, c); err != nil {
		return err
	}
	if req.Op == api.OpKill {
		h.beginKill()
		return ignore(c.send(api.Answer{OK: true}))
	}
`,
		pkg: "./hv/vmhost", run: "TestKillOvertakesTheStart",
	},
	{
		name:   "exit note not written",
		breaks: "how a VM ended is known to an engine that was down",
		file:   "hv/vmhost/host.go",
		was: `	if err := writeNote(h.spec.Dir, note); err != nil {
`,
		now: `	if err := ignore(fmt.Errorf("%+v", note)); err != nil {
`,
		pkg: "./hv/vmhost", run: "TestNoteBeforeLock",
	},
	{
		name:   "vsock: the guest's credit not respected",
		breaks: "a guest is sent what it has room for",
		file:   "hv/vsock/stream.go",
		was: `	free := int64(c.peerAlloc) - int64(c.sentBytes-c.peerFwd)
	return int(max(0, min(free, int64(len(c.out)))))
`,
		now: `	return len(c.out)
`,
		pkg: "./hv/vsock", run: "TestHostileCredit",
	},
	{
		name:   "vsock: credit of the guest not checked",
		breaks: "a hostile guest's bytes are bounded in the VM host's memory",
		file:   "hv/vsock/transport.go",
		was: `	case c.peerShut&shutSend != 0 || n > uint64(data.size()) || n+uint64(c.in.n) > uint64(c.alloc):
`,
		now: `	case c.peerShut&shutSend != 0 || n > uint64(data.size()):
`,
		pkg: "./hv/vsock", run: "TestHostileStream",
	},
	{
		name:   "vsock: loop of descriptors not bounded",
		breaks: "a hostile guest can't hold up the VM host",
		file:   "hv/vsock/ring.go",
		was: `	for count := 0; count < maxSegments; count++ {
`,
		now: `	for count := 0; len(segs) < maxSegments; count++ {
`,
		pkg: "./hv/vsock", run: "TestLoopsEnd",
	},
	{
		name:   "token not checked in the guest",
		breaks: "who has not the launch's token gets nothing of the agent",
		file:   "guest/wire/doc.go",
		was: `	if subtle.ConstantTimeCompare(buf[:], want) != 1 {
`,
		now: `	if subtle.ConstantTimeCompare(buf[:len(Magic)], want[:len(Magic)]) != 1 {
`,
		pkg: "./guest/agent", run: "TestGateRefuses",
	},
	{
		name:   "peer uid not checked at the endpoint",
		breaks: "the endpoint serves the engine's own user and root",
		file:   "actors/endpoint/peer.go",
		was: `	if !allowed(uid) {
		return "", fmt.Errorf("endpoint: the peer is user %d, allowed are the engine's own (%d) and 0", uid, os.Geteuid())
	}
`,
		now: ``,
		pkg: "./actors/endpoint", run: "TestStrangerIsTurnedAway",
	},
	{
		name:   "every user allowed at the endpoint",
		breaks: "the endpoint serves the engine's own user and root",
		file:   "actors/endpoint/peer.go",
		was: `func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }
`,
		now: `func ownOrRoot(uid uint32) bool { return uid == 0 || os.Geteuid() >= 0 }
`,
		pkg: "./actors/endpoint", run: "TestWhoIsAllowed",
	},
	{
		name:   "ticket of another user taken",
		breaks: "a byte stream is for whom it was authorised",
		file:   "actors/endpoint/tickets.go",
		was: `	if tk.principal != principal {
		return nil, fmt.Errorf("the ticket was issued to %s, shown by %s", tk.principal, principal)
	}
`,
		now: ``,
		pkg: "./actors/endpoint", run: "TestTicketOfAnother",
	},
	{
		name:   "modules: what is needed first is loaded last",
		breaks: "modprobe works in machines with an image",
		file:   "guest/boot/modindex/modindex.go",
		was: `	slices.Reverse(paths)
`,
		now: ``,
		pkg: "./guest/boot/modindex", run: "TestModules",
	},
	{
		name:   "kernel probe: a host without time makes a kernel hang",
		breaks: "what boots showed of a kernel is what the kernel did",
		file:   "cmd/arcbox/kernel_probe.go",
		was: `		if r.starved && starved < p.count {
`,
		now: `		if r.starved && starved < 0 {
`,
		pkg: "./cmd/arcbox", run: "TestProbeOnABusyHost",
	},
	{
		name:   "kernel: a few boots are trusted",
		breaks: "a machine is a microvm only where all of 200 boots came up",
		file:   "guest/kernel/boots.go",
		was: `		if b.Board == "microvm" && b.Hung == 0 && b.Count >= Enough {
`,
		now: `		if b.Board == "microvm" && b.Hung == 0 {
`,
		pkg: "./guest/kernel", run: "TestRecordAndChoose",
	},
	{
		name:   "a guest that is gone is told to stop",
		breaks: "Virtualization.framework survives every stop",
		file:   "hv/vz/vm.go",
		was: `	case !v.machine.May(d):
		return fmt.Errorf("%w: %s", errNotNow, d)
`,
		now: ``,
		pkg: "./hv/vz", run: "TestNothingIsToldToAGuestThatIsGone",
	},
	{
		name:   "a stream that nobody reads is kept for long",
		breaks: "it holds up no other stream of its VM",
		file:   "hv/vz/window.go",
		was: `			t := time.NewTimer(c.stall)
`,
		now: `			t := time.NewTimer(60 * c.stall)
`,
		pkg: "./hv/vz", run: "TestWindowThatNobodyReads",
	},
	{
		name:   "rosetta is dropped in silence",
		breaks: "what a backend has not is refused by name",
		file:   "actors/spec.go",
		was: `	case s.Rosetta && s.Backend != "vz":
		return badInput("rosetta", "rosetta: backend %s has none, only vz has it, on a Mac with Apple silicon", s.Backend)
`,
		now: ``,
		pkg: "./actors", run: "TestBackendsRefuseByName",
	},
}
