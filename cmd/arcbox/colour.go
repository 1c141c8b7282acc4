package main

import (
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

// Colours only add to what words say already. They are for terminals, and for those
// who did not set NO_COLOR (no-color.org).

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	dim    = "\x1b[2m"
	usual  = "\x1b[0m"
)

// colours tells whether w may have them.
func (a *app) colours(w any) bool {
	return a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && terminalWidth(w) > 0
}

// hues are the colours of words that cells of a table begin with.
var hues = map[string]string{
	"Running": green, "ok": green, "listens": green,
	"Starting": yellow, "Stopping": yellow, "unknown": yellow, "paused": yellow, "degraded": red,
	"Created": dim, "Stopped": dim,
	"guest-panic": red, "crashed": red, "launch-failed": red, "agent-timeout": red, "host-lost": red,
}

// hued are the columns whose words have colours.
var hued = []string{"STATE", "HEALTH", "CAUSE"}

// painted gives the cells of those columns their colours, when they are drawn: what
// measures and cuts cells sees none.
func painted(columns []string) []table.ColumnConfig {
	var out []table.ColumnConfig
	for i, name := range columns {
		for _, h := range hued {
			if name == h {
				out = append(out, table.ColumnConfig{Number: i + 1, Transformer: paint})
			}
		}
	}
	return out
}

func paint(cell any) string {
	text, _ := cell.(string)
	word, _, _ := strings.Cut(text, " ")
	hue := hues[strings.TrimRight(word, ":…")]
	if hue == "" {
		return text
	}
	return hue + text + usual
}
