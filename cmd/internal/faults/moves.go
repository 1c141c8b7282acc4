package main

// moveFaults are in what takes machines elsewhere, and brings them here.
var moveFaults = []fault{
	{
		name:   "the digest of an archive's disk is not compared",
		breaks: "what is imported is what was exported",
		file:   "guest/archive/read.go",
		was: `	case a.sum.Disk != want.Disk:
`,
		now: `	case a.sum.Disk == "":
`,
		pkg: "./guest/archive", run: "TestSaysWhatDiffers",
	},
	{
		name:   "pieces of an archive in any order",
		breaks: "an archive writes nowhere but on its own disk, once",
		file:   "guest/archive/read.go",
		was: `	case h.Size < 1 || h.Size > maxPiece || at < a.end || at > a.Disk.Size || h.Size > a.Disk.Size-at:
`,
		now: `	case h.Size < 1 || h.Size > maxPiece || at > a.Disk.Size || h.Size > a.Disk.Size-at:
`,
		pkg: "./guest/archive", run: "TestHostile",
	},
	{
		name:   "a machine starts while its disk is read",
		breaks: "an export is of a machine at rest",
		file:   "actors/start.go",
		was: `	case m.exporting != nil:
`,
		now: `	case false:
`,
		pkg: "./actors", run: "TestExportHoldsTheMachine",
	},
	{
		name:   "the mark of a disk that no record knows is not made",
		breaks: "a create that never was leaves nothing",
		file:   "actors/hosts/moves.go",
		was: `		err = files.Replace(filepath.Join(dir, newDisk), nil, 0o600)
`,
		now: `		err = nil
`,
		pkg: "./actors/hosts", run: "TestAdoptedIsForgotten",
	},
	{
		name:   "the record of a machine does not say that it came with a disk",
		breaks: "a disk that has vanished is not made anew in silence",
		file:   "actors/commands.go",
		was: `	if mk.disk {
`,
		now: `	if false {
`,
		pkg: "./actors/actorstest", run: "TestScenarios/came",
	},
	{
		name:   "a stage is kept when its sender has gone",
		breaks: "an import that was killed leaves nothing",
		file:   "actors/import.go",
		was: `	defer s.Disks.Drop(stage)
`,
		now: ``,
		pkg: "./actors", run: "TestStageDisk",
	},
	{
		name:   "an archive opens ports here",
		breaks: "only a person of this host says what of it a machine has",
		file:   "cmd/arcbox/archive_spec.go",
		was: `		case slices.Contains(hostKeys, key):
`,
		now: `		case slices.Contains(hostKeys, key) && key != "socket":
`,
		pkg: "./cmd/arcbox", run: "TestExportAndImport",
	},
}
