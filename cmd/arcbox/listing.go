package main

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// column is one thing that a list says of each of its rows.
type column[T any] struct {
	name  string // as in --columns; the header in upper case
	text  func(T) string
	rank  func(T) int64        // what it sorts by; nil = its text
	match func(T, wanted) bool // makes it a key of --filter; nil = it is none
	many  bool                 // a row has several of it: of several filters all must hold
	bends bool                 // on a narrow terminal it gives way first
	extra bool                 // only where --columns names it
	bare  bool                 // a mark, without a header
}

// listing is how a list shows its rows. All lists that can be chosen from are
// made by it: the same flags, the same words, one table.
type listing[T any] struct {
	columns []column[T]
	names   func(T) []string // what -q prints
	view    func(T) any      // what --format json and templates see
	same    func(T) string   // rows with the same word are one in JSON; nil = none are

	shown   []string
	filters []string
	sort    string
}

// wanted is what a filter asks for: a pattern, in lower case.
type wanted string

// is tells whether a text is what is wanted, whatever its case: * and ? stand for
// any letters.
func (w wanted) is(text string) bool {
	ok, err := path.Match(string(w), strings.ReplaceAll(strings.ToLower(text), "/", "\x00"))
	return ok && err == nil
}

// want reads a pattern. A slash is a letter like any other.
func want(pattern string) (wanted, error) {
	w := wanted(strings.ReplaceAll(strings.ToLower(pattern), "/", "\x00"))
	_, err := path.Match(string(w), "")
	return w, err
}

// like is the filter of a column by its text.
func like[T any](text func(T) string) func(T, wanted) bool {
	return func(row T, w wanted) bool { return w.is(text(row)) }
}

// listFlags adds the flags that choose rows and columns. What no row could answer is
// refused before any is asked for.
func listFlags[T any](a *app, cmd *cobra.Command, l *listing[T]) {
	f := cmd.Flags()
	f.StringSliceVar(&l.shown, "columns", nil, "columns to show: "+strings.Join(l.columnNames(), ", "))
	f.StringArrayVar(&l.filters, "filter", nil, "only rows with KEY=VALUE, where * stands for any letters; of several with one key any must hold"+l.exception()+"; keys: "+strings.Join(l.keys(), ", "))
	f.StringVar(&l.sort, "sort", "", "column to sort by; -COLUMN the other way round")
	a.complete(cmd, "columns", l.columnNames()...)
	a.complete(cmd, "sort", l.columnNames()...)
	var keys []string
	for _, key := range l.keys() {
		keys = append(keys, key+"=")
	}
	a.complete(cmd, "filter", keys...)
	cmd.PreRunE = func(*cobra.Command, []string) error { return l.check() }
	takesTemplate(cmd)
}

func (l *listing[T]) columnNames() []string {
	var names []string
	for _, c := range l.columns {
		names = append(names, c.name)
	}
	return names
}

func (l *listing[T]) keys() []string {
	var keys []string
	for _, c := range l.columns {
		if c.match != nil {
			keys = append(keys, c.name)
		}
	}
	return slices.Sorted(slices.Values(keys))
}

// exception names the keys of which a row may have several values.
func (l *listing[T]) exception() string {
	var names []string
	for _, c := range l.columns {
		if c.match != nil && c.many {
			names = append(names, c.name)
		}
	}
	return ifSet(len(names) > 0, " (of "+strings.Join(names, ", ")+" all)")
}

func (l *listing[T]) column(flag, name string) (column[T], error) {
	for _, c := range l.columns {
		if strings.EqualFold(c.name, strings.TrimSpace(name)) {
			return c, nil
		}
	}
	return column[T]{}, unknownWord(flag, "column", name, l.columnNames())
}

// unknownWord refuses a word that is none of those that are known.
func unknownWord(flag, what, word string, known []string) *failure {
	f := badInput(flag, "--%s: no %s %q: one of %s", flag, what, shorten(word, 80), strings.Join(known, ", "))
	f.hint = didYouMean(word, known, "")
	return f
}

// check refuses what no row could answer.
func (l *listing[T]) check() error {
	_, err := l.chosen()
	if err == nil {
		_, err = l.wishes()
	}
	if err == nil && l.sort != "" {
		_, err = l.column("sort", strings.TrimPrefix(l.sort, "-"))
	}
	return err
}

// chosen are the columns to show.
func (l *listing[T]) chosen() ([]column[T], error) {
	var out []column[T]
	for _, c := range l.columns {
		if len(l.shown) == 0 && !c.extra {
			out = append(out, c)
		}
	}
	for _, name := range l.shown {
		c, err := l.column("columns", name)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// wish is what --filter says of one key.
type wish[T any] struct {
	column[T]
	patterns []wanted
}

func (l *listing[T]) wishes() ([]*wish[T], error) {
	var out []*wish[T]
	for _, text := range l.filters {
		key, pattern, ok := strings.Cut(text, "=")
		if !ok {
			return nil, badInput("filter", "--filter %q: KEY=VALUE is needed, with a key of %s", shorten(text, 80), strings.Join(l.keys(), ", "))
		}
		c, err := l.column("filter", key)
		if err != nil || c.match == nil {
			return nil, unknownWord("filter", "key", key, l.keys())
		}
		w, err := want(pattern)
		if err != nil {
			return nil, badInput("filter", "--filter %q: not a pattern: %v", shorten(text, 80), err)
		}
		at := slices.IndexFunc(out, func(o *wish[T]) bool { return o.name == c.name })
		if at < 0 {
			at, out = len(out), append(out, &wish[T]{column: c})
		}
		out[at].patterns = append(out[at].patterns, w)
	}
	return out, nil
}

// granted tells whether any of the patterns holds: a row has one name, one state.
// Of what it has several of, such as labels, each pattern asks for one, and all must
// be there, as with Docker and Kubernetes: what goes on to rm is then fewer, not more.
func (w *wish[T]) granted(row T) bool {
	holds := func(p wanted) bool { return w.match(row, p) }
	if w.many {
		return !slices.ContainsFunc(w.patterns, func(p wanted) bool { return !holds(p) })
	}
	return slices.ContainsFunc(w.patterns, holds)
}

// pick is the rows that are wanted, in the order that is wanted.
func (l *listing[T]) pick(rows []T) ([]T, error) {
	wishes, err := l.wishes()
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(row T) bool {
		return slices.ContainsFunc(wishes, func(w *wish[T]) bool { return !w.granted(row) })
	})
	if l.sort == "" {
		return rows, nil
	}
	name, back := strings.CutPrefix(l.sort, "-")
	c, err := l.column("sort", name)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(x, y T) int {
		if back {
			x, y = y, x
		}
		return c.compare(x, y)
	})
	return rows, nil
}

func (c column[T]) compare(x, y T) int {
	if c.rank != nil {
		return cmp.Compare(c.rank(x), c.rank(y))
	}
	return strings.Compare(strings.ToLower(c.text(x)), strings.ToLower(c.text(y)))
}

// print prints rows as the flags say. none is told where there are no rows at all.
func (l *listing[T]) print(a *app, all []T, none string) error {
	rows, err := l.pick(all)
	if err != nil {
		return err
	}
	switch {
	case a.json():
		return a.printJSON(l.views(rows))
	case a.template():
		return printTemplate(a, rows, l.view)
	case a.quiet:
		var names strings.Builder
		for _, row := range rows {
			for _, name := range l.names(row) {
				names.WriteString(printable(name) + "\n")
			}
		}
		_, err := io.WriteString(a.stdout, names.String())
		return err
	case len(all) == 0:
		a.note("%s", none)
	case len(rows) == 0:
		a.note("none of %d is so", len(all))
	}
	return l.table(a, rows)
}

func (l *listing[T]) views(rows []T) []any {
	views, seen := []any{}, map[string]bool{}
	for _, row := range rows {
		if l.same != nil {
			key := l.same(row)
			if seen[key] {
				continue
			}
			seen[key] = true
		}
		views = append(views, l.view(row))
	}
	return views
}

func (l *listing[T]) table(a *app, rows []T) error {
	columns, err := l.chosen()
	if err != nil {
		return err
	}
	header, bends := make([]string, len(columns)), make([]bool, len(columns))
	for i, c := range columns {
		header[i], bends[i] = ifSet(!c.bare, strings.ToUpper(c.name)), c.bends
	}
	cells := make([][]string, len(rows))
	for i, row := range rows {
		cells[i] = make([]string, len(columns))
		for j, c := range columns {
			cells[i][j] = c.text(row)
		}
	}
	if width := terminalWidth(a.stdout); width > 0 {
		bend(width, header, cells, bends)
	}
	return a.printTable(header, cells)
}

// count is a number as the text of a column.
func count[N int | int32 | int64 | uint32](n N) string { return fmt.Sprint(n) }
