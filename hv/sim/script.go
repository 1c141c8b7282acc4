package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// AgentMode is how a sim guest's agent behaves.
type AgentMode string

// The modes.
const (
	AgentOK    AgentMode = "ok"
	AgentNever AgentMode = "never"
	AgentHang  AgentMode = "hang"
)

// maxAfter bounds every time in a script.
const maxAfter = 30 * 24 * time.Hour

// Script is what a sim VM does. The zero Script boots at once and behaves.
type Script struct {
	Boot           time.Duration
	StartTakes     time.Duration
	StartFails     bool
	CIDsTaken      hv.CID    // all below it are somebody else's
	Agent          AgentMode // "" = AgentOK
	IgnoreShutdown bool
	ShutdownTakes  time.Duration
	SaveTakes      time.Duration
	SaveFails      bool
	Console        string
	Timed          []Timed
}

// Timed is what happens so long after the start.
type Timed struct {
	After time.Duration
	Do    Deed
	Cause hv.ExitCause // of DeedExit
}

// Deed is what happens.
type Deed string

// The deeds.
const (
	DeedExit   Deed = "exit"
	DeedReboot Deed = "reboot"
)

// words are the words of a script: what follows the name, and how it is read.
var words = []struct {
	name, value string
	read        func(*Script, string) error
}{
	{"boot", "DURATION", func(s *Script, v string) error { return readTime(v, &s.Boot) }},
	{"start-takes", "DURATION", func(s *Script, v string) error { return readTime(v, &s.StartTakes) }},
	{"start-fails", "", func(s *Script, _ string) error { s.StartFails = true; return nil }},
	{"cids-taken", "BELOW", readCID},
	{"agent", "ok|never|hang", readAgent},
	{"ignore-shutdown", "", func(s *Script, _ string) error { s.IgnoreShutdown = true; return nil }},
	{"shutdown-takes", "DURATION", func(s *Script, v string) error { return readTime(v, &s.ShutdownTakes) }},
	{"save-takes", "DURATION", func(s *Script, v string) error { return readTime(v, &s.SaveTakes) }},
	{"save-fails", "", func(s *Script, _ string) error { s.SaveFails = true; return nil }},
	{"exit-after", "DURATION[:CAUSE]", readExit},
	{"panic-after", "DURATION", func(s *Script, v string) error { return s.after(v, DeedExit, hv.ExitPanic) }},
	{"poweroff-after", "DURATION", func(s *Script, v string) error { return s.after(v, DeedExit, hv.ExitPoweredOff) }},
	{"reboot-after", "DURATION", func(s *Script, v string) error { return s.after(v, DeedReboot, "") }},
	{"console", "TEXT", func(s *Script, v string) error { s.Console = v; return nil }},
}

// Parse reads a script. An error names the word at fault and what is allowed.
func Parse(text string) (Script, error) {
	var s Script
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, hasValue := strings.Cut(part, "=")
		i := slices.IndexFunc(words, func(w struct {
			name, value string
			read        func(*Script, string) error
		}) bool {
			return w.name == name
		})
		switch {
		case i < 0:
			return Script{}, fmt.Errorf("sim script: word %q: allowed are %s", name, allowed())
		case seen[name]:
			return Script{}, fmt.Errorf("sim script: word %q stands twice", name)
		case hasValue != (words[i].value != ""):
			return Script{}, fmt.Errorf("sim script: %q: write it %s", part, form(i))
		}
		seen[name] = true
		if err := words[i].read(&s, value); err != nil {
			return Script{}, fmt.Errorf("sim script: %q: %w; write it %s", part, err, form(i))
		}
	}
	return s, nil
}

func form(i int) string {
	if words[i].value == "" {
		return words[i].name
	}
	return words[i].name + "=" + words[i].value
}

func allowed() string {
	forms := make([]string, len(words))
	for i := range words {
		forms[i] = form(i)
	}
	return strings.Join(forms, ", ")
}

func readTime(v string, to *time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is no duration like 20ms or 5s", v)
	}
	if d < 0 || d > maxAfter {
		return fmt.Errorf("%s is not within 0 and %s", d, maxAfter)
	}
	*to = d
	return nil
}

func readCID(s *Script, v string) error {
	n, err := strconv.ParseUint(v, 10, 32)
	if cid := hv.CID(n); err != nil || !cid.Valid() {
		return fmt.Errorf("%q is no CID: 3 to 4294967294", v)
	}
	s.CIDsTaken = hv.CID(n)
	return nil
}

func readAgent(s *Script, v string) error {
	modes := []AgentMode{AgentOK, AgentNever, AgentHang}
	if !slices.Contains(modes, AgentMode(v)) {
		return fmt.Errorf("%q is none of %q", v, modes)
	}
	s.Agent = AgentMode(v)
	return nil
}

func readExit(s *Script, v string) error {
	after, cause, ok := strings.Cut(v, ":")
	if !ok {
		cause = string(hv.ExitCrashed)
	}
	causes := []hv.ExitCause{hv.ExitPoweredOff, hv.ExitKilled, hv.ExitCrashed, hv.ExitPanic, hv.ExitFailed}
	if !slices.Contains(causes, hv.ExitCause(cause)) {
		return fmt.Errorf("cause %q is none of %q", cause, causes)
	}
	return s.after(after, DeedExit, hv.ExitCause(cause))
}

func (s *Script) after(v string, do Deed, cause hv.ExitCause) error {
	t := Timed{Do: do, Cause: cause}
	if err := readTime(v, &t.After); err != nil {
		return err
	}
	s.Timed = append(s.Timed, t)
	return nil
}
