package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

var recordHeader = []string{"SEQ", "TIME", "MACHINE", "KIND", "TO", "BY", "REASON", "DETAIL"}

// recordJSON is a record in JSON. Names are only ever added.
type recordJSON struct {
	Seq        uint64          `json:"seq"`
	Time       *time.Time      `json:"time"`
	Machine    string          `json:"machine,omitempty"` // its id
	Name       string          `json:"name,omitempty"`
	Kind       string          `json:"kind"`
	To         string          `json:"to,omitempty"`
	CID        uint32          `json:"cid,omitempty"`
	Principal  string          `json:"principal,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Request    string          `json:"request,omitempty"`
	Launch     string          `json:"launch,omitempty"`
	Fact       json.RawMessage `json:"fact,omitempty"`
	Unreadable string          `json:"unreadable,omitempty"`
}

func recordView(r *wire.Record) recordJSON {
	out := recordJSON{
		Seq: r.GetSeq(), Time: wireTime(r.GetUnixNanos()), Machine: r.GetMachine(), Name: r.GetName(), Kind: r.GetKind(),
		To: r.GetTo(), CID: r.GetCid(), Principal: r.GetPrincipal(), Reason: r.GetReason(), Request: r.GetRequest(),
		Launch: r.GetLaunch(), Unreadable: r.GetUnreadable(),
	}
	if json.Valid(r.GetFactJson()) {
		out.Fact = r.GetFactJson()
	}
	return out
}

func recordRow(r *wire.Record) []string {
	name := r.GetName()
	if name == "" {
		name = r.GetMachine()
	}
	when := ""
	if t := wireTime(r.GetUnixNanos()); t != nil {
		when = t.Format(time.RFC3339)
	}
	return []string{
		fmt.Sprint(r.GetSeq()), when, name, r.GetKind(), r.GetTo(), r.GetPrincipal(), r.GetReason(), shorten(printable(recordDetail(r)), 120),
	}
}

// recordDetail is what a record says beyond its kind, in short. An unreadable
// record says so.
func recordDetail(r *wire.Record) string {
	if r.GetUnreadable() != "" {
		return "UNREADABLE: " + r.GetUnreadable()
	}
	var fact map[string]any
	if json.Unmarshal(r.GetFactJson(), &fact) != nil {
		return ""
	}
	if wanted, known := told[r.GetKind()]; known {
		return factText(fact, wanted)
	}
	return factText(fact, slices.Sorted(maps.Keys(fact)))
}

// told lists, for each kind, the fields that its line shows, in order; a kind
// that is not here shows all.
var told = map[string][]string{
	"created":          {"spec.cpus", "spec.memory", "spec.backend", "spec.restart"},
	"start-requested":  {"allowed", "attempt", "saved"},
	"relaunched":       {"why"},
	"launched":         {"driver", "accel", "note"},
	"ready":            {"agent_version", "address", "disk.after", "disk.replayed", "disk.errors"},
	"stop-requested":   {"mode", "no_kill", "then"},
	"stop-tightened":   {"mode", "no_kill", "then"},
	"stop-abandoned":   {"why"},
	"exited":           {"cause", "status", "detail", "plan.attempt", "plan.resting"},
	"repaired":         {"cause", "said", "found", "plan.attempt", "plan.resting"},
	"adopted":          {"version"},
	"spec-changed":     {"spec.cpus", "spec.memory", "spec.disk", "spec.egress", "grown"},
	"desired-changed":  {"desired"},
	"resume-requested": {"why"},
	"health-changed":   {"health.level", "health.why"},
	"egress-denied":    {"denial.to", "denial.protocol"},
	"stray-found":      {"what", "cid"},
	"engine-started":   {"version", "boot"},
}

// bare fields need no name before them.
var bare = []string{"why", "cause", "detail", "mode", "note", "desired", "what", "found", "health.level", "health.why", "spec.backend", "driver", "accel", "denial.protocol"}

func factText(fact map[string]any, fields []string) string {
	var parts []string
	for _, field := range fields {
		value := fact[field]
		if outer, inner, nested := strings.Cut(field, "."); nested {
			deeper, _ := fact[outer].(map[string]any)
			field, value = inner, deeper[inner]
			if slices.Contains(bare, outer+"."+inner) {
				field = ""
			}
		} else if slices.Contains(bare, field) {
			field = ""
		}
		if text := valueText(field, value); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ", ")
}

// valueText is one field; nothing, false and zero say nothing.
func valueText(field string, value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case bool:
		if !v {
			return ""
		}
		return strings.ReplaceAll(field, "_", " ")
	case float64:
		if v == 0 {
			return ""
		}
		if field == "memory" || field == "disk" {
			return field + " " + formatSize(int64(v))
		}
		if field == "allowed" || field == "took" {
			return field + " " + time.Duration(v).Round(time.Millisecond).String()
		}
		return strings.TrimSpace(fmt.Sprintf("%s %.0f", strings.ReplaceAll(field, "_", " "), v))
	case string:
		if v == "" {
			return ""
		}
		return strings.TrimSpace(strings.ReplaceAll(field, "_", " ") + " " + v)
	}
	text, _ := json.Marshal(value) // it came from JSON
	return field + " " + string(text)
}
