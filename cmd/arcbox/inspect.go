package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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
		Use:        "inspect [NAME...]",
		SuggestFor: []string{"status", "show"},
		Short:      "Show everything that is known of machines",
		Long: "Show everything that is known of machines (the default one where none is named).\n" +
			"--format json prints one object, of several machines or --all an array; a template a\n" +
			"line for each. How full the disk of a machine that runs is, its guest is asked: where\n" +
			"it does not answer in time, that is unknown, and the rest is shown.",
		Example: "  arcbox inspect web\n  arcbox inspect web --format '{{.address}}'\n  arcbox inspect --all --format json",
	}
	chosen := a.machinesFlag(cmd, 0)
	takesTemplate(cmd)
	cmd.Flags().Var(&limit, "timeout", "how long to wait for the guest's word on its disk")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		names, err := chosen(args)(ctx, e)
		if err != nil {
			return err
		}
		outcomes := each(names, func(name string) (inspected, error) {
			m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
			if err != nil {
				return inspected{}, err
			}
			use := a.diskUse(ctx, e, m, time.Duration(limit))
			if ctx.Err() != nil {
				return inspected{}, context.Cause(ctx)
			}
			return inspected{m, use}, nil
		})
		return a.printInspected(outcomes, cmd.Flags().Changed("all"))
	})
	return cmd
}

// inspected is a machine, and how full its disk is.
type inspected struct {
	m   *wire.Machine
	use *diskUseJSON
}

func (i inspected) view() any {
	view := machineView(i.m)
	view.DiskUse = i.use
	return view
}

// printInspected prints what became of each, those first of which nothing is known.
func (a *app) printInspected(outcomes []chan outcome[inspected], array bool) error {
	worst, array := 0, array || len(outcomes) > 1
	var all []inspected
	for _, c := range outcomes {
		o := <-c
		if o.err == nil {
			all = append(all, o.what)
			continue
		}
		if !array || errors.Is(o.err, errInterrupted) {
			return o.err
		}
		f := understood(o.err)
		a.printFailure(f)
		worst = max(worst, f.code)
	}
	var err error
	switch {
	case a.template():
		err = printTemplate(a, all, inspected.view)
	case a.json() && array:
		views := []any{}
		for _, i := range all {
			views = append(views, i.view())
		}
		err = a.printJSON(views)
	case a.json():
		err = a.printJSON(all[0].view())
	default:
		err = a.printTexts(all)
	}
	return cmp.Or(err, worstOf(worst))
}

func (a *app) printTexts(all []inspected) error {
	for i, one := range all {
		if i > 0 {
			if _, err := io.WriteString(a.stdout, "\n"); err != nil {
				return err
			}
		}
		if err := a.printInspect(one.m, one.use); err != nil {
			return err
		}
	}
	return nil
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
	facts = append(facts, volumeFacts(m)...)
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
		{"saved", a.when(m.GetSavedUnixNanos())},
		{"goes on from", a.when(m.GetGoesOnUnixNanos())},
		{"address", m.GetAddress()},
		{"cid", number(int64(m.GetCid()))},
		{"backend", backend},
		{"accel", m.GetAccel()},
		{"accel note", m.GetAccelNote()},
		{"arch", s.GetArch()},
		{"cpus", number(int64(s.GetCpus())) + nowHas(m, number(int64(m.GetLaunchedWith().GetCpus())), s.GetCpus() != m.GetLaunchedWith().GetCpus())},
		{"memory", formatSize(s.GetMemory()) + nowHas(m, formatSize(m.GetLaunchedWith().GetMemory()), s.GetMemory() != m.GetLaunchedWith().GetMemory())},
		{"image", imageOf(s)},
		{"disk", sizeOf(s.GetDisk()) + nowHas(m, sizeOf(m.GetLaunchedWith().GetDisk()), s.GetDisk() != m.GetLaunchedWith().GetDisk())},
		{"machine", s.GetBoard()},
		{"vsock", s.GetVsock()},
		{"rosetta", ifSet(s.GetRosetta(), "yes")},
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
		{"labels", labelsText(m)},
		{"protected", ifSet(s.GetProtected(), "yes: arcbox unprotect "+m.GetName()+" lets it be removed")},
		{"created", a.when(m.GetCreatedUnixNanos())},
		{"ready", a.when(m.GetReadyUnixNanos())},
		{"phases", phasesText(m.GetPhases())},
		{"booted", a.when(m.GetBootedUnixNanos())},
		{"boot phases", phasesText(m.GetBootPhases())},
		{"init", m.GetInit()},
		{"reboots", number(int64(m.GetReboots()))},
		{"agent", m.GetAgentVersion() + outdatedText(m, m.GetAgentOutdatedBy())},
		{"vm host", m.GetHostVersion() + outdatedText(m, m.GetOutdatedBy())},
		{"guest boot", m.GetGuestBoot()},
		{"launch", m.GetLaunch()},
		{"directory", m.GetDir()},
		{"sockets", m.GetRunDir()},
		{"record", number(int64(m.GetSeq()))}, //nolint:gosec // for people
	}
}

// outdatedText says what a machine's next start gives it instead, "" = no other.
func outdatedText(m *wire.Machine, by string) string {
	return ifSet(by != "", ", outdated: arcbox restart "+m.GetName()+" gives it one of "+by)
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

// because is a text with what is wrong with it, where something is.
func because(text, why string) string { return text + ifSet(why != "", ": "+why) }

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
