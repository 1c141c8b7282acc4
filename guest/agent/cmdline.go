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
	name string // host name
	log  string // device
	line string // the whole of it
}

var (
	hostName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	deviceName = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
)

// parseArguments reads a kernel command line. What is not a host name or a
// device's name is passed over: the default holds.
func parseArguments(line string) arguments {
	args := arguments{name: "arcbox", line: line}
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "arcbox.name" && hostName.MatchString(value):
			args.name = value
		case key == "arcbox.log" && deviceName.MatchString(value):
			args.log = value
		}
	}
	return args
}

func (a arguments) fault(name string) bool { return early.Fault(a.line, name) }
