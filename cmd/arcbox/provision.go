package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// untilProvisioned is when a machine's set-up has a result.
const untilProvisioned = "provisioned"

// setUpSlack is what a set-up may take beyond its own limit: the boot before it.
const setUpSlack = time.Minute

func newProvision(a *app) *cobra.Command {
	again := false
	cmd := &cobra.Command{
		Use:   "provision [NAME]",
		Short: "Wait for a machine's set-up, or have it set up again",
		Long: "Wait until the set-up of a machine (the default one where none is named) has a result, and say\n" +
			"which: exit 1 where it failed, with the last lines of its output (arcbox logs\n" +
			"--provision has all of it). It is run once, after the machine's first boot. One that\n" +
			"was interrupted, because the machine ended in its middle, counts as failed, and is not\n" +
			"run again by itself. With --again the script that the machine was created with is run\n" +
			"once more: now, or at the machine's next start. Ctrl-C detaches: the set-up goes on.",
		Example:           "  arcbox provision web\n  arcbox provision web --again",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().BoolVar(&again, "again", false, "run the script once more")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		return a.change(ctx, one(a.nameOf(args)), change{doing: "setting up", until: untilProvisioned, do: func(ctx context.Context, e engine, name string) (*wire.Done, error) {
			if !again {
				m, err := ask[*wire.Machine](ctx, e, &wire.InspectMachine{Name: name})
				if err != nil {
					return nil, err
				}
				return awaitSetUp(ctx, e, name, m)
			}
			done, err := command(ctx, e, &wire.ProvisionMachine{Request: request(), Name: name})
			if err != nil {
				return nil, err
			}
			if done.GetMachine().GetState() != "Running" {
				a.note("%s does not run: it is set up at its next start", name)
				return done, nil
			}
			return awaitSetUp(ctx, e, name, done.GetMachine())
		}})
	})
	return cmd
}

// awaitSetUp waits for a set-up, as long as it may take.
func awaitSetUp(ctx context.Context, e engine, name string, m *wire.Machine) (*wire.Done, error) {
	limit := time.Duration(m.GetSpec().GetProvision().GetTimeoutNanos()) + setUpSlack
	return await(ctx, e, name, untilProvisioned, limit)
}

// setUpText says how a machine's set-up stands.
func setUpText(m *wire.Machine) string {
	p, r := m.GetSpec().GetProvision(), m.GetProvisioned()
	switch {
	case p == nil:
		return ""
	case r == nil || r.GetRound() != p.GetRound():
		return p.GetKind() + ", not yet"
	}
	text := p.GetKind() + ", " + r.GetWhat()
	if took := time.Duration(r.GetTookNanos()); took > 0 {
		text += " after " + took.Round(100*time.Millisecond).String()
	}
	return text
}

// provisionJSON is a set-up and what came of it.
type provisionJSON struct {
	Kind        string     `json:"kind"`
	Digest      string     `json:"digest"`
	Timeout     int64      `json:"timeout_ns"`
	Round       uint32     `json:"round"`
	Done        bool       `json:"done"` // this round has a result
	OK          bool       `json:"ok"`
	What        string     `json:"what,omitempty"`
	At          *time.Time `json:"at,omitempty"`
	Took        int64      `json:"took_ns,omitempty"`
	Status      int32      `json:"status,omitempty"`
	Signal      int32      `json:"signal,omitempty"`
	TimedOut    bool       `json:"timed_out,omitempty"`
	Interrupted bool       `json:"interrupted,omitempty"`
	Tail        string     `json:"tail,omitempty"`
}

func provisionView(m *wire.Machine) *provisionJSON {
	p, r := m.GetSpec().GetProvision(), m.GetProvisioned()
	if p == nil {
		return nil
	}
	out := &provisionJSON{Kind: p.GetKind(), Digest: p.GetDigest(), Timeout: p.GetTimeoutNanos(), Round: p.GetRound()}
	if r != nil && r.GetRound() == p.GetRound() {
		out.Done, out.OK, out.What, out.At, out.Took = true, r.GetOk(), r.GetWhat(), wireTime(r.GetUnixNanos()), r.GetTookNanos()
		out.Status, out.Signal, out.TimedOut, out.Interrupted, out.Tail = r.GetStatus(), r.GetSignal(), r.GetTimedOut(), r.GetInterrupted(), r.GetTail()
	}
	return out
}
