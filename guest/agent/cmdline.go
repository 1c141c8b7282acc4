package agent

import (
	"regexp"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/agent/early"
)

// The faults that arcbox.test= injects, beside the one of package early.
const (
	faultNoAgent        = "no-agent"
	faultIgnoreShutdown = "ignore-shutdown"
)

// arguments are the words of the kernel's command line that are ours.
type arguments struct {
	name    string        // host name
	log     string        // device
	root    bool          // the root is on disks
	modules bool          // so are the kernel's modules
	id      string        // the machine's, 32 digits
	zone    string        // time zone
	of      givenIdentity // of the machine that its disk is a copy of
	net     netArguments
	line    string // the whole of it
}

var (
	hostName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	machineID  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	zoneName   = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]{0,31}(/[A-Z][A-Za-z0-9_+-]{0,31}){0,2}$`)
	deviceName = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
)

// parseArguments reads a kernel command line. What is not as it should be
// is passed over: the default holds.
func parseArguments(line string) arguments {
	args := arguments{name: "arcbox", line: line}
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "arcbox.name" && hostName.MatchString(value):
			args.name = value
		case key == "arcbox.log" && deviceName.MatchString(value):
			args.log = value
		case key == "arcbox.root":
			args.root = value == "image"
		case key == "arcbox.modules":
			args.modules = value == "disk"
		case key == "arcbox.id" && machineID.MatchString(value):
			args.id = value
		case key == "arcbox.of":
			id, name, _ := strings.Cut(value, ",")
			if machineID.MatchString(id) && hostName.MatchString(name) {
				args.of = givenIdentity{name, id}
			}
		case key == "arcbox.net":
			args.net, _ = parseNet(value)
		case key == "arcbox.zone" && zoneName.MatchString(value):
			args.zone = value
		}
	}
	return args
}

func (a arguments) fault(name string) bool { return early.Fault(a.line, name) }
