package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// machineListing is how machines are listed. A machine of which nothing more is
// known than its name is a row like any other.
func machineListing(a *app) *listing[*wire.Machine] {
	type m = *wire.Machine
	state, desired := m.GetState, m.GetDesired
	return &listing[m]{
		names: func(x m) []string { return []string{x.GetName()} },
		view:  func(x m) any { return machineView(x) },
		columns: []column[m]{
			{name: "name", text: m.GetName, match: like(m.GetName)},
			{name: "state", text: state, match: like(state)},
			{name: "desired", text: desired, match: like(desired)},
			{name: "health", text: healthCell, bends: true, match: hasHealth},
			{name: "ip", text: m.GetAddress, match: like(m.GetAddress)},
			{name: "cpus", text: func(x m) string { return count(x.GetSpec().GetCpus()) }, rank: func(x m) int64 { return int64(x.GetSpec().GetCpus()) }},
			{name: "mem", text: func(x m) string { return formatSize(x.GetSpec().GetMemory()) }, rank: func(x m) int64 { return x.GetSpec().GetMemory() }},
			{name: "disk", text: func(x m) string { return sizeOf(x.GetSpec().GetDisk()) }, rank: func(x m) int64 { return x.GetSpec().GetDisk() }},
			{name: "age", text: func(x m) string { return a.since(x.GetCreatedUnixNanos()) }, rank: func(x m) int64 { return -x.GetCreatedUnixNanos() }},
			{name: "cause", text: causeCell, bends: true, match: func(x m, w wanted) bool { return w.is(x.GetCause()) }},
			{name: "image", text: imageCell, extra: true, match: func(x m, w wanted) bool {
				return w.is(x.GetSpec().GetImageName()) || w.is(x.GetSpec().GetImage()) || w.is(short(x.GetSpec().GetImage()))
			}},
			{name: "backend", text: backendOf, extra: true, match: like(backendOf)},
			{name: "restart", text: func(x m) string { return x.GetSpec().GetRestart() }, extra: true, match: func(x m, w wanted) bool { return w.is(x.GetSpec().GetRestart()) }},
			{name: "network", text: networkCell, extra: true, match: like(networkCell)},
			{name: "label", text: labelsText, extra: true, bends: true, match: hasLabel, many: true},
			{name: "protected", text: protectedText, extra: true, match: like(protectedText)},
			{name: "id", text: m.GetId, extra: true, match: like(m.GetId)},
			{name: "since", text: func(x m) string { return a.since(x.GetSinceUnixNanos()) }, extra: true, rank: func(x m) int64 { return -x.GetSinceUnixNanos() }},
		},
	}
}

func backendOf(m *wire.Machine) string { return m.GetSpec().GetBackend() }

func networkCell(m *wire.Machine) string { return cmp.Or(m.GetSpec().GetNetwork(), "none") }

func imageCell(m *wire.Machine) string {
	return cmp.Or(m.GetSpec().GetImageName(), short(m.GetSpec().GetImage()))
}

// labelsText is labels by their keys: "app=shop, tier=web".
func labelsText(m *wire.Machine) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m.GetSpec().GetLabels())) {
		parts = append(parts, strings.TrimSuffix(k+"="+m.GetSpec().GetLabels()[k], "="))
	}
	return strings.Join(parts, ", ")
}

// hasLabel finds a label by its key, or by key and value.
func hasLabel(m *wire.Machine, w wanted) bool {
	for k, v := range m.GetSpec().GetLabels() {
		if w.is(k) || w.is(k+"="+v) {
			return true
		}
	}
	return false
}

// hasHealth finds a machine by how it does, and by whether it is outdated.
func hasHealth(m *wire.Machine, w wanted) bool {
	return w.is(m.GetHealth()) || w.is(healthWhy(m)) || isOutdated(m) && w.is(outdated)
}

func protectedText(m *wire.Machine) string {
	if m.GetSpec().GetProtected() {
		return "yes"
	}
	return "no"
}

// healthCell is health, and whether anything runs there at all.
func healthCell(m *wire.Machine) string {
	var marks []string
	if isSim(m) {
		marks = append(marks, "sim")
	}
	if isOutdated(m) {
		marks = append(marks, outdated)
	}
	text := healthText(m)
	if len(marks) > 0 {
		text = strings.TrimSpace(text + " (" + strings.Join(marks, ", ") + ")")
	}
	return text
}

// outdated marks a machine whose VM host is of another version than the engine, or
// whose agent is of another build than the next start's.
const outdated = "outdated"

func isOutdated(m *wire.Machine) bool { return m.GetOutdatedBy() != "" || m.GetAgentOutdatedBy() != "" }

// causeCell is the cause of the last end; of one that runs it would be of an earlier life.
func causeCell(m *wire.Machine) string {
	cause := m.GetCause()
	if m.GetState() == "Running" || m.GetState() == "Starting" {
		cause = ""
	}
	if m.GetResting() {
		cause += " (resting)"
	}
	return cause
}
