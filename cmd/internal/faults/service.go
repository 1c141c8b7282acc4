package main

// serviceFaults are about an engine that goes and comes: as a service, and as another
// build.
var serviceFaults = []fault{
	{
		name:   "an engine that ends takes the service's socket along",
		breaks: "who asks while the engine is away waits at its socket",
		file:   "actors/endpoint/socket.go",
		was: `	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
`,
		now: `	if _, err := os.Lstat(s.path); err == nil {
`,
		pkg: "./actors/endpoint", run: "TestCloseLeavesTheNextSocket",
	},
	{
		name:   "a service that starts is given up",
		breaks: "a command waits for the engine that it had started",
		file:   "cmd/arcbox/away.go",
		was: `	for muteEngine(err) && ctx.Err() == nil {
`,
		now: `	for false {
`,
		pkg: "./cmd/arcbox", run: "TestAnEngineThatItsServiceStarts",
	},
	{
		name:   "an old agent passes for a new one",
		breaks: "a machine that a restart would renew is outdated",
		file:   "actors/onwire.go",
		was: `	if now := s.AgentOf(m.LaunchSpec(), out.Kernel); now != out.AgentVersion {
`,
		now: `	if now := s.AgentOf(m.LaunchSpec(), out.Kernel); now == "" {
`,
		pkg: "./actors", run: "TestAgentOutdatedBy",
	},
	{
		name:   "a field of the network's protocol is renamed",
		breaks: "a newer engine adopts an older network process",
		file:   "hv/network/api/api.go",
		was:    "	AutoPorts bool `json:\"auto_ports,omitempty\"`\n",
		now:    "	AutoPorts bool `json:\"ports_auto,omitempty\"`\n",
		pkg:    "./hv/network/api", run: "TestRecordedLines",
	},
}
