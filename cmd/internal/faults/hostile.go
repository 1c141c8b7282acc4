package main

// hostileFaults let a hostile guest, or a hostile caller, do what it may not.
var hostileFaults = []fault{
	{
		name:   "a guest writes as many records as it likes",
		breaks: "no guest fills the journal",
		file:   "actors/pace.go",
		was: `	if p.spent >= paceBurst {
`,
		now: `	if p.spent < 0 {
`,
		pkg: "./actors/actorstest", run: "TestAGuestCantFillTheJournal",
	},
	{
		name:   "reboots that were held back are forgotten",
		breaks: "what is written is all that happened",
		file:   "actors/pace.go",
		was: `			f.Times = m.pace.reboots
`,
		now: `			f.Times = 1
`,
		pkg: "./actors/actorstest", run: "TestAGuestCantFillTheJournal",
	},
	{
		name:   "half a request ends the VM host",
		breaks: "no caller of the socket ends a VM",
		file:   "hv/vmhost/requester.go",
		was: `	n, oobn = max(n, 0), max(oobn, 0) // with an error, both may be -1
`,
		now: ``,
		pkg: "./hv/vmhost", run: "TestHalfARequest",
	},
	{
		name:   "whoever waits for the driver takes a place for good",
		breaks: "kill is obeyed, however many callers there are",
		file:   "hv/vmhost/serve.go",
		was: `	maxStreams = maxConns - 2*maxSilent // 1,000 forwarded connections, and all else
`,
		now: `	maxStreams = 100 * maxConns
`,
		pkg: "./hv/vmhost", run: "TestKillWhileItStarts",
	},
	{
		name:   "a hello as long as a message may be",
		breaks: "an answer costs no more than an honest one",
		file:   "guest/client.go",
		was: `	maxHello   = 64 << 10
`,
		now: `	maxHello   = 4 << 20
`,
		pkg: "./guest", run: "TestGiantAnswers",
	},
	{
		name:   "goodbye said to an agent that reads nothing",
		breaks: "a hostile guest holds up nobody",
		file:   "guest/client.go",
		was: `	_ = c.raw.Close() // gRPC closes it too
`,
		now: ``,
		pkg: "./guest", run: "TestSieges",
	},
	{
		name:   "events of launches that ended in the dark are kept",
		breaks: "a machine's launches leave nothing behind",
		file:   "actors/hosts/dirs.go",
		was: `	w.forget(ref)
`,
		now: ``,
		pkg: "./actors/hosts", run: "TestWatchLeavesNothing",
	},
	{
		name:   "a list without pages",
		breaks: "any number of machines can be listed",
		file:   "actors/onwire.go",
		was: `const pageBytes = wire.MaxReply / 4
`,
		now: `const pageBytes = wire.MaxReply * 4
`,
		pkg: "./actors", run: "TestTwentyThousandMachines",
	},
	{
		name:   "controls beyond C0 pass",
		breaks: "no guest drives a terminal",
		file:   "cmd/arcbox/text.go",
		was: `func drives(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
`,
		now: `func drives(r rune) bool { return r < ' ' || r == 0x7f && unicode.IsControl(r) }
`,
		pkg: "./cmd/arcbox", run: "TestGuestsCantDriveTheTerminal",
	},
	{
		name:   "the agent's own listeners are told",
		breaks: "an automatic port never leads back to who asked",
		file:   "guest/agent/listeners.go",
		was: `		if own[s.inode] || s.at.Port() == 0 || slices.Contains(resolved, s.at) || addr.IsLinkLocalUnicast() {
`,
		now: `		if s.at.Port() == 0 || slices.Contains(resolved, s.at) || addr.IsLinkLocalUnicast() {
`,
		pkg: "./guest/agent", run: "TestListenersOf",
	},
	{
		name:   "a guest's port counts twice",
		breaks: "what a guest says it listens at is bounded",
		file:   "guest/listeners.go",
		was: `		seen[port] = true
`,
		now: ``,
		pkg: "./guest", run: "TestListeners",
	},
	{
		name:   "a guest's port goes before a person's",
		breaks: "a forward that was asked for is had, whatever the guest listens at",
		file:   "hv/network/netd/auto.go",
		was: `			barred = append(barred, h)
`,
		now: `			want = append(want, h)
`,
		pkg: "./hv/network/netd", run: "TestWanted",
	},
	{
		name:   "a guest that nobody follows is heard",
		breaks: "automatic ports end with the wish for them",
		file:   "hv/network/netd/auto.go",
		was: `	if ctx.Err() != nil {
		return
	}
	change()
`,
		now: `	change()
`,
		pkg: "./hv/network/netd", run: "TestNobodyWantsToKnow",
	},
}
