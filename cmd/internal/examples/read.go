package examples

import (
	"fmt"
	"strings"
)

// Example is a command, and what it prints.
type Example struct {
	Page    string
	Line    int    // of the command, from 1
	Command string // as a shell takes it: lines joined by newlines
	Want    []string
}

// Page is what a document has to run.
type Page struct {
	Examples []Example
	Aside    int // blocks that no test can run
}

// fence begins and ends a block.
const fence = "```"

// reader is where in a page we are.
type reader struct {
	page  Page
	name  string
	line  int
	mark  string // of the block; in none, what is not a mark
	begun int    // the line where the block began, 0 in none
}

// Read finds the examples of a page. name is what errors and examples call it.
func Read(name, text string) (Page, error) {
	r := &reader{name: name}
	for line := range strings.Lines(text) {
		r.line++
		if err := r.take(strings.TrimRight(line, "\r\n")); err != nil {
			return Page{}, fmt.Errorf("%s:%d: %w", name, r.line, err)
		}
	}
	if r.begun != 0 {
		return Page{}, fmt.Errorf("%s:%d: this block does not end", name, r.begun)
	}
	return r.page, nil
}

func (r *reader) take(line string) error {
	mark, isFence := strings.CutPrefix(strings.TrimSpace(line), fence)
	switch {
	case isFence && r.begun == 0:
		r.begun, r.mark = r.line, mark
		if mark == "sh" {
			r.page.Aside++
		}
	case isFence:
		r.begun = 0
	case r.begun != 0 && r.mark == "console":
		return r.example(line)
	}
	return nil
}

// example takes a line of a block of examples.
func (r *reader) example(line string) error {
	if command, ok := strings.CutPrefix(line, "$ "); ok {
		r.page.Examples = append(r.page.Examples, Example{Page: r.name, Line: r.line, Command: command})
		return nil
	}
	n := len(r.page.Examples)
	if n == 0 || r.page.Examples[n-1].Line < r.begun {
		return fmt.Errorf("a block of examples begins with %q, and not with a command: \"$ \" and what is typed", line)
	}
	last := &r.page.Examples[n-1]
	if more, ok := strings.CutPrefix(line, "> "); (ok || line == ">") && last.Want == nil {
		last.Command += "\n" + strings.TrimPrefix(more, ">")
		return nil
	}
	last.Want = append(last.Want, line)
	return nil
}
