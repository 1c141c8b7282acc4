package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// atOnce bounds the commands in flight where one command line names many
// machines.
const atOnce = 16

// change is a verb that changes machines.
type change struct {
	doing string // for progress: "starting"
	ends  bool   // it ends with the command
	until string // what arcbox wait may wait for, after a Ctrl-C; "" = nothing
	do    func(ctx context.Context, e engine, name string) (*wire.Done, error)
}

type outcome[T any] struct {
	what T
	err  error
}

// change carries out a verb on machines, at once, and prints the outcomes in
// the order of the names.
func (a *app) change(ctx context.Context, w which, c change) error {
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	names, err := w(ctx, e)
	if err != nil || len(names) == 0 {
		return err
	}
	stop := a.progress(ctx, e, c.doing, names)
	defer stop()
	outcomes := each(names, func(name string) (*wire.Done, error) { return c.do(ctx, e, name) })
	worst := 0
	for i, name := range names {
		o := <-outcomes[i]
		if o.err == nil {
			stop()
			if err := a.printDone(name, o.what, len(names) > 1); err != nil {
				return err
			}
			continue
		}
		err := c.detached(names, o.err)
		if len(names) == 1 || errors.Is(o.err, errInterrupted) {
			return err
		}
		stop()
		f := understood(err)
		a.printFailure(f)
		worst = max(worst, f.code)
	}
	return worstOf(worst)
}

// worstOf ends a command with the highest code of its parts, each of which has
// said its own.
func worstOf(code int) error {
	if code == 0 {
		return nil
	}
	return exitWith(code)
}

// each does something for each name, some of them at once; the outcome of each is
// its channel's only value.
func each[T any](names []string, do func(name string) (T, error)) []chan outcome[T] {
	outcomes := make([]chan outcome[T], len(names))
	free := make(chan struct{}, atOnce)
	for i, name := range names {
		outcomes[i] = make(chan outcome[T], 1)
		go func() {
			free <- struct{}{}
			defer func() { <-free }()
			what, err := do(name)
			outcomes[i] <- outcome[T]{what, err}
		}()
	}
	return outcomes
}

// detached says, after a Ctrl-C, that the work goes on without us.
func (c change) detached(names []string, err error) error {
	if !errors.Is(err, errInterrupted) {
		return err
	}
	f := &failure{code: exitInterrupted, kind: "interrupted"}
	f.message = fmt.Sprintf("detached: the engine goes on %s %s", c.doing, strings.Join(names, ", "))
	if c.ends {
		f.message = fmt.Sprintf("interrupted: %s %s is given up, unless it was done just now", c.doing, strings.Join(names, ", "))
	}
	f.hint = "arcbox list"
	if c.until != "" {
		f.hint = "arcbox wait " + names[0] + " " + c.until
	}
	return f
}

type doneJSON struct {
	Name     string       `json:"name"`
	Seq      uint64       `json:"seq,omitempty"`
	Note     string       `json:"note,omitempty"`
	Killed   bool         `json:"killed"`
	Repeated bool         `json:"repeated,omitempty"`
	Machine  *machineJSON `json:"machine,omitempty"`
}

// printDone prints an outcome: the state that the machine is in now, and
// whatever is worth knowing besides on standard error.
func (a *app) printDone(name string, d *wire.Done, line bool) error {
	if m := d.GetMachine(); m.GetName() != "" {
		name = m.GetName()
	}
	if note := doneNote(d); note != "" {
		a.note("%s: %s", name, note)
	}
	for _, p := range d.GetMachine().GetNetwork().GetPorts() {
		if p.GetError() != "" && d.GetMachine().GetAddress() != "" { // it runs
			a.note("%s: port %s: %s; it listens as soon as it can; see arcbox port ls %s", name, portText(p.GetPort()), p.GetError(), name)
		}
	}
	if a.json() {
		out := doneJSON{Name: name, Seq: d.GetSeq(), Note: d.GetNote(), Killed: d.GetKilled(), Repeated: d.GetRepeated()}
		if d.GetMachine() != nil {
			view := machineView(d.GetMachine())
			out.Machine = &view
		}
		if line {
			return a.printLine(out)
		}
		return a.printJSON(out)
	}
	if a.quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", printable(name), doneText(d.GetMachine()))
	return err
}

func doneNote(d *wire.Done) string {
	if d.GetNote() == "" && d.GetKilled() {
		return "it had to be killed"
	}
	return d.GetNote()
}

func doneText(m *wire.Machine) string {
	state := m.GetState()
	if state == "" {
		return "Removed"
	}
	var more []string
	if m.GetAddress() != "" {
		more = append(more, m.GetAddress())
	}
	if isSim(m) && state != "Removed" {
		more = append(more, "sim: nothing really runs")
	}
	if len(more) > 0 {
		state += " (" + strings.Join(more, ", ") + ")"
	}
	return printable(state)
}

// request makes the head of a command. The same id is sent again where the
// connection breaks, so that nothing is done twice.
func request() *wire.Request { return &wire.Request{Id: uuid.NewString()} }
