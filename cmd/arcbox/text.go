package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
)

// drives tells whether a character is an order to a terminal, and no text: a
// control character (C0, DEL, C1), or one that turns the direction of writing,
// so that a line reads otherwise than it is.
func drives(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// printable makes one line that can't drive a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case drives(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\r\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.TrimRight(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// shorten cuts a text to n runes.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// plain is a table without lines: columns two blanks apart.
const gap = "  "

var plain = table.Style{
	Name:    "plain",
	Box:     table.BoxStyle{PaddingRight: gap},
	Options: table.OptionsNoBordersAndSeparators,
}

// printTable prints rows below upper-case headers. On a terminal long rows are
// cut at its width; a pipe gets all of them.
func (a *app) printTable(header []string, rows [][]string) error {
	t := table.NewWriter()
	t.SetStyle(plain)
	t.SuppressTrailingSpaces()
	if width := terminalWidth(a.stdout); width > 0 {
		t.SetAllowedRowLength(width) // the row, not the table, is what a terminal limits
	}
	if a.colours(a.stdout) {
		t.SetColumnConfigs(painted(header))
	}
	t.AppendHeader(tableRow(header))
	for _, row := range rows {
		t.AppendRow(tableRow(row))
	}
	_, err := io.WriteString(a.stdout, t.Render()+"\n")
	return err
}

func tableRow(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		if c = printable(c); c == "" {
			c = "-"
		}
		row[i] = c
	}
	return row
}

// narrowest is what a column that gives way keeps.
const narrowest = 10

// bend shortens the cells of columns that give way, the widest of them first, until
// rows fit into a width or nothing gives way any more.
func bend(width int, header []string, rows [][]string, bends []bool) {
	wide := widths(header, rows)
	over := -len(gap) - width
	for _, w := range wide {
		over += w + len(gap)
	}
	for ; over > 0; over-- {
		most := widest(wide, bends)
		if most < 0 {
			break
		}
		wide[most]--
	}
	for _, row := range rows {
		for i := range row {
			if bends[i] {
				row[i] = shorten(row[i], wide[i])
			}
		}
	}
}

// widest is the widest column that can give way, -1 where none can.
func widest(wide []int, bends []bool) int {
	most := -1
	for i, w := range wide {
		if bends[i] && w > narrowest && (most < 0 || w > wide[most]) {
			most = i
		}
	}
	return most
}

func widths(header []string, rows [][]string) []int {
	wide := make([]int, len(header))
	for i, h := range header {
		wide[i] = len(h)
		for _, row := range rows {
			wide[i] = max(wide[i], len([]rune(row[i])))
		}
	}
	return wide
}

// printJSON prints a document for people and programs.
func (a *app) printJSON(v any) error { return writeJSON(a.stdout, v, "  ") }

// printLine prints an object on a line of its own.
func (a *app) printLine(v any) error { return writeJSON(a.stdout, v, "") }

// writeJSON is all JSON that this program prints. Go's encoder escapes only C0
// in strings, and a terminal obeys more than that.
func writeJSON(w io.Writer, v any, indent string) error {
	var doc bytes.Buffer
	e := json.NewEncoder(&doc)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	out := make([]byte, 0, doc.Len())
	for _, r := range doc.String() { // valid UTF-8: the encoder sees to it
		if drives(r) && r != '\n' { // line ends outside of strings
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	_, err := w.Write(out)
	return err
}
