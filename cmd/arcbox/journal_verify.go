package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func newJournalVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Read the whole journal and check it; exit 1 where it is damaged",
		Args:  noArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			e, err := a.history(ctx)
			if err != nil {
				return err
			}
			defer e.Close()
			v, err := askLong[*wire.Verified](ctx, e, &wire.VerifyJournal{}) // it reads everything
			if err != nil {
				return err
			}
			return a.printVerified(v)
		}),
	}
}

type verifiedJSON struct {
	OK      bool        `json:"ok"`
	First   uint64      `json:"first"`
	Last    uint64      `json:"last"`
	Records uint64      `json:"records"`
	Faults  []faultJSON `json:"faults"`
}

type faultJSON struct {
	Seq     uint64 `json:"seq,omitempty"`
	Machine string `json:"machine,omitempty"`
	What    string `json:"what"`
}

func (a *app) printVerified(v *wire.Verified) error {
	out := verifiedJSON{OK: v.GetOk(), First: v.GetFirst(), Last: v.GetLast(), Records: v.GetRecords(), Faults: []faultJSON{}}
	rows := [][]string{}
	for _, f := range v.GetFaults() {
		out.Faults = append(out.Faults, faultJSON{f.GetSeq(), f.GetMachine(), f.GetWhat()})
		rows = append(rows, []string{number(int64(f.GetSeq())), f.GetMachine(), f.GetWhat()}) //nolint:gosec // for people
	}
	switch {
	case a.json():
		if err := a.printJSON(out); err != nil {
			return err
		}
	case v.GetOk():
		if a.quiet {
			return nil
		}
		_, err := fmt.Fprintf(a.stdout, "the journal is sound: %d records, %d to %d\n", out.Records, out.First, out.Last)
		return err
	default:
		if err := a.printTable([]string{"SEQ", "MACHINE", "FAULT"}, rows); err != nil {
			return err
		}
	}
	if v.GetOk() {
		return nil
	}
	return &failure{
		code: exitGeneral, kind: "damaged", hint: "arcbox journal recover",
		message: fmt.Sprintf("the journal is damaged: %d faults in %d records", len(out.Faults), out.Records),
	}
}
