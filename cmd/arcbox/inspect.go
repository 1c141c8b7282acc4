package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newInspect(a *app) *cobra.Command {
	limit := limitValue(diskUseTime)
	cmd := &cobra.Command{
		Use:   "inspect [NAME]",
		Short: "Show everything that is known of a machine",
		Long: "Show everything that is known of a machine (\"" + defaultName + "\" where none is named). --format json prints\n" +
			"one object. How full the disk of a machine that runs is, its guest is asked: where\n" +
			"it does not answer in time, that is unknown, and the rest is shown.",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().Var(&limit, "timeout", "how long to wait for the guest's word on its disk")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: nameOf(args)})
		if err != nil {
			return err
		}
		use := a.diskUse(ctx, e, m, time.Duration(limit))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if a.json() {
			view := machineView(m)
			view.DiskUse = use
			return a.printJSON(view)
		}
		return a.printInspect(m, use)
	})
	return cmd
}

// fact is a line of inspect; an empty value leaves it out.
type fact struct{ name, value string }

func (a *app) printFacts(facts []fact) error {
	var b strings.Builder
	for _, f := range facts {
		if f.value != "" {
			fmt.Fprintf(&b, "%-14s %s\n", f.name+":", printable(f.value))
		}
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

func (a *app) printInspect(m *wire.Machine, use *diskUseJSON) error {
	facts := a.facts(m)
	facts = append(facts, diskFacts(use)...)
	facts = append(facts, networkFacts(m)...)
	for _, b := range m.GetSpec().GetBlocks() {
		facts = append(facts, fact{"block", blockText(b)})
	}
	for _, o := range m.GetOwed() {
		facts = append(facts, fact{"owed", a.owedText(o)})
	}
	if err := a.printFacts(facts); err != nil || m.GetConsoleTail() == "" {
		return err
	}
	return a.printTail("console:\n", m.GetConsoleTail())
}

// printTail shows the last lines of a console, indented under a title.
func (a *app) printTail(title, tail string) error {
	b := bytes.NewBufferString(title)
	for line := range strings.Lines(printableLines(tail) + "\n") {
		b.WriteString("  " + line)
	}
	_, err := b.WriteTo(a.stdout)
	return err
}

func (a *app) facts(m *wire.Machine) []fact {
	s := m.GetSpec()
	backend := s.GetBackend()
	if isSim(m) {
		backend += " (nothing really runs)"
	}
	return []fact{
		{"name", m.GetName()},
		{"id", m.GetId()},
		{"state", m.GetState()},
		{"since", a.when(m.GetSinceUnixNanos())},
		{"desired", m.GetDesired()},
		{"health", healthText(m)},
		{"damaged", ifSet(m.GetDamaged(), "yes: see arcbox journal verify")},
		{"stray", ifSet(m.GetStray(), "yes: arcbox stop "+m.GetName()+" ends it")},
		{"cause", m.GetCause()},
		{"detail", m.GetCauseDetail()},
		{"exited", a.when(m.GetExitedUnixNanos())},
		{"exit status", number(int64(m.GetExitStatus()))},
		{"address", m.GetAddress()},
		{"cid", number(int64(m.GetCid()))},
		{"backend", backend},
		{"accel", m.GetAccel()},
		{"accel note", m.GetAccelNote()},
		{"cpus", number(int64(s.GetCpus())) + nowHas(m, number(int64(m.GetLaunchedWith().GetCpus())), s.GetCpus() != m.GetLaunchedWith().GetCpus())},
		{"memory", formatSize(s.GetMemory()) + nowHas(m, formatSize(m.GetLaunchedWith().GetMemory()), s.GetMemory() != m.GetLaunchedWith().GetMemory())},
		{"image", imageOf(s)},
		{"disk", sizeOf(s.GetDisk()) + nowHas(m, sizeOf(m.GetLaunchedWith().GetDisk()), s.GetDisk() != m.GetLaunchedWith().GetDisk())},
		{"machine", s.GetBoard()},
		{"kernel", s.GetKernel()},
		{"launched as", launchedAs(m)},
		{"initrd", s.GetInitrd()},
		{"cmdline", s.GetCmdline()},
		{"script", s.GetScript()},
		{"set-up", setUpText(m)},
		{"restart", s.GetRestart()},
		{"attempt", number(int64(m.GetAttempt()))},
		{"next start", a.when(m.GetNotBeforeUnixNanos())},
		{"resting", ifSet(m.GetResting(), "yes: it failed too often; arcbox start "+m.GetName()+" tries again")},
		{"created", a.when(m.GetCreatedUnixNanos())},
		{"ready", a.when(m.GetReadyUnixNanos())},
		{"phases", phasesText(m.GetPhases())},
		{"booted", a.when(m.GetBootedUnixNanos())},
		{"boot phases", phasesText(m.GetBootPhases())},
		{"init", m.GetInit()},
		{"reboots", number(int64(m.GetReboots()))},
		{"agent", m.GetAgentVersion()},
		{"vm host", m.GetHostVersion()},
		{"guest boot", m.GetGuestBoot()},
		{"launch", m.GetLaunch()},
		{"directory", m.GetDir()},
		{"sockets", m.GetRunDir()},
		{"record", number(int64(m.GetSeq()))}, //nolint:gosec // for people
	}
}

// nowHas says what a VM has instead of what its machine will have from the next start on.
func nowHas(m *wire.Machine, has string, differs bool) string {
	return ifSet(m.GetLaunchedWith() != nil && differs, " from the next start on, "+has+" now")
}

// imageOf is what a machine's image was asked for by, and which it was then.
func imageOf(s *wire.Spec) string {
	if s.GetImageName() == "" {
		return s.GetImage()
	}
	return s.GetImageName() + " (" + s.GetImage() + ")"
}

func sizeOf(n int64) string {
	if n == 0 {
		return ""
	}
	return formatSize(n)
}

// launchedAs is what the VM was built as, and which kernel it booted.
func launchedAs(m *wire.Machine) string {
	text := m.GetBoard()
	if m.GetKernelRelease() != "" {
		text += ", kernel " + m.GetKernelRelease()
	}
	if m.GetKernel() != "" {
		text += " (" + m.GetKernel() + ")"
	}
	return strings.TrimPrefix(text, ", ")
}

func ifSet(set bool, text string) string {
	if set {
		return text
	}
	return ""
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// when is a time and how far away it is.
func (a *app) when(unixNanos int64) string {
	t := wireTime(unixNanos)
	if t == nil {
		return ""
	}
	if d := t.Sub(a.now()); d > 0 {
		return t.Format(time.RFC3339) + " (in " + age(d) + ")"
	}
	return t.Format(time.RFC3339) + " (" + a.since(unixNanos) + " ago)"
}

// phasesText lists the steps of a boot by time.
func phasesText(phases map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(phases), func(x, y string) int {
		return cmp.Or(cmp.Compare(phases[x], phases[y]), strings.Compare(x, y))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d ms", name, phases[name])
	}
	return strings.Join(parts, ", ")
}

func (a *app) owedText(o *wire.Owed) string {
	text := o.GetWhat()
	if text == "" {
		text = o.GetDuty()
	}
	if by := a.when(o.GetByUnixNanos()); by != "" {
		text += ", by " + by
	}
	return text
}
