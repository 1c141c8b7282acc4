package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/hosts"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/journal"
)

// journalFlags are those of arcbox journal.
type journalFlags struct {
	machine, since, format string
	kinds                  []string
	limit                  uint32
	follow                 bool
}

func journalCommand() *cobra.Command {
	var f journalFlags
	cmd := &cobra.Command{
		Use: "journal", Short: "Read the journal while no engine runs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.list(cmd) },
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.machine, "machine", "", "only of this machine")
	p.StringSliceVar(&f.kinds, "kind", nil, "only of these kinds")
	p.StringVar(&f.since, "since", "", "only since then: a duration (1h) or RFC 3339")
	p.Uint32Var(&f.limit, "limit", 0, "the last so many")
	p.BoolVarP(&f.follow, "follow", "f", false, "needs a running engine")
	p.StringVar(&f.format, "format", "table", "table or json")
	cmd.AddCommand(
		&cobra.Command{Use: "list", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return f.list(cmd) }},
		&cobra.Command{Use: "why NAME", Args: cobra.ExactArgs(1), RunE: f.why},
		&cobra.Command{Use: "verify", Args: cobra.NoArgs, RunE: f.verify},
		&cobra.Command{Use: "export JSON", Args: cobra.ExactArgs(1), Hidden: true, RunE: exportHistory},
		&cobra.Command{Use: "restore DIR", Args: cobra.ExactArgs(1), Short: "Put a backup in the journal's place", RunE: restoreJournal},
		&cobra.Command{Use: "ask MESSAGE JSON", Args: cobra.ExactArgs(2), Hidden: true, RunE: askHistory},
		&cobra.Command{Use: "recover", Args: cobra.NoArgs, Short: "Salvage a damaged journal into a new one", RunE: recoverJournal},
	)
	return cmd
}

// open reads the journal, and says that no engine did.
func openHistory() (*actors.History, func(), error) {
	h, err := findHome()
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(h.Journal()); err != nil {
		return nil, nil, &actors.Refusal{Code: wire.Code_CODE_NOT_FOUND, Hint: "arcbox engine start",
			Message: fmt.Sprintf("there is no journal yet: %v", err)}
	}
	j, err := journal.OpenReadOnly(h.Journal(), journal.Options{})
	if err != nil {
		return nil, nil, explain(h, err)
	}
	fmt.Fprintln(os.Stderr, "no engine runs; the journal is read from", h.Journal())
	world := hosts.New(hosts.Options{Machines: h.Machines(), Run: h.Run})
	return actors.NewHistory(h.Data, j, realClock{boot: bootID()}, world), func() { _ = j.Close() }, nil // read-only
}

func (f *journalFlags) list(cmd *cobra.Command) error {
	if f.follow {
		return &actors.Refusal{Code: wire.Code_CODE_UNAVAILABLE, Message: "--follow needs a running engine", Hint: "arcbox engine start"}
	}
	h, done, err := openHistory()
	if err != nil {
		return err
	}
	defer done()
	q := &wire.QueryJournal{Machine: f.machine, Kinds: f.kinds, Limit: f.limit}
	if f.since != "" {
		t, err := sinceTime(f.since, time.Now())
		if err != nil {
			return err
		}
		q.SinceUnixNanos = t.UnixNano()
	}
	out, err := h.Query(q)
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), out, out.GetRecords())
}

func (f *journalFlags) print(w io.Writer, whole proto.Message, records []*wire.Record) error {
	if f.format == "json" {
		return printJSON(w, whole)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SEQ\tTIME\tMACHINE\tKIND\tTO\tBY\tREASON\tDETAIL")
	for _, r := range records {
		detail := string(r.GetFactJson())
		if r.GetUnreadable() != "" {
			detail = "unreadable: " + r.GetUnreadable()
		}
		if len(detail) > 120 {
			detail = detail[:120] + "…"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.GetSeq(), time.Unix(0, r.GetUnixNanos()).Format(time.RFC3339),
			r.GetName(), r.GetKind(), r.GetTo(), r.GetPrincipal(), r.GetReason(), detail)
	}
	return t.Flush()
}

func (f *journalFlags) why(cmd *cobra.Command, args []string) error {
	h, done, err := openHistory()
	if err != nil {
		return err
	}
	defer done()
	out, err := h.Why(args[0])
	if err != nil {
		return err
	}
	if f.format != "json" {
		fmt.Fprintln(cmd.OutOrStdout(), out.GetSentence())
	}
	return f.print(cmd.OutOrStdout(), out, out.GetChain())
}

func (f *journalFlags) verify(cmd *cobra.Command, _ []string) error {
	h, done, err := openHistory()
	if err != nil {
		return err
	}
	defer done()
	out, err := h.Verify(cmd.Context())
	if err != nil {
		return err
	}
	if f.format == "json" {
		err = printJSON(cmd.OutOrStdout(), out)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%d records, %d to %d\n", out.GetRecords(), out.GetFirst(), out.GetLast())
		for _, x := range out.GetFaults() {
			fmt.Fprintf(cmd.OutOrStdout(), "fault at %d: %s\n", x.GetSeq(), x.GetWhat())
		}
	}
	if err == nil && !out.GetOk() {
		return exit(1)
	}
	return err
}

// askHistory answers a question of the socket's, given by name and in JSON.
func askHistory(cmd *cobra.Command, args []string) error {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(args[0]))
	if err != nil || wire.TargetOf(kind.New().Interface()) != wire.Journal {
		return badUsage(fmt.Errorf("%q is no question to the journal", args[0]), "arcbox journal --help")
	}
	question := kind.New().Interface()
	if err := protojson.Unmarshal([]byte(args[1]), question); err != nil {
		return badUsage(fmt.Errorf("%s: %w", args[0], err), "arcbox journal --help")
	}
	h, done, err := openHistory()
	if err != nil {
		return err
	}
	defer done()
	out, err := h.Ask(cmd.Context(), question)
	if err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), out)
}

// exportHistory prints all records that match a QueryJournal, one a line.
func exportHistory(cmd *cobra.Command, args []string) error {
	q := &wire.QueryJournal{}
	if err := protojson.Unmarshal([]byte(args[0]), q); err != nil {
		return badUsage(fmt.Errorf("export: %w", err), "arcbox journal export --help")
	}
	h, done, err := openHistory()
	if err != nil {
		return err
	}
	defer done()
	out := bufio.NewWriter(cmd.OutOrStdout())
	for q.Forward = true; ; {
		page, err := h.Query(q)
		if err != nil {
			return err
		}
		for _, r := range page.GetRecords() {
			q.After = r.GetSeq()
			if err := printJSON(out, r); err != nil {
				return err
			}
		}
		if !page.GetMore() {
			return out.Flush()
		}
	}
}

func printJSON(w io.Writer, m proto.Message) error {
	b, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err = fmt.Fprintln(w, string(json.RawMessage(b)))
	return err
}

func sinceTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "since", Hint: "arcbox journal --help",
			Message: fmt.Sprintf("since %q: a duration such as 1h, or a time such as 2026-01-31T12:00:00Z", s)}
	}
	return t, nil
}

// recoverJournal salvages into a new journal, and puts it in the old one's
// place, which is kept beside it.
func recoverJournal(cmd *cobra.Command, _ []string) error {
	h, err := findHome()
	if err != nil {
		return err
	}
	if _, err := os.Stat(h.Journal()); errors.Is(err, fs.ErrNotExist) {
		return &actors.Refusal{Code: wire.Code_CODE_NOT_FOUND, Hint: "arcbox engine start",
			Message: "there is no journal to recover: " + h.Journal() + " is not there"}
	}
	var s journal.Salvage
	kept, err := renewed{"recovered", "damaged"}.journal(h, func(fresh string) (err error) {
		s, err = journal.Recover(h.Journal(), fresh, journal.Options{Log: newLog(false)})
		return err
	})
	if err != nil {
		return explain(h, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d records saved, up to %d; %d lost; the old journal is in %s\n", s.Records, s.Last, len(s.Lost), kept)
	for _, what := range s.Damage {
		fmt.Fprintf(cmd.OutOrStdout(), "damaged: %s\n", what)
	}
	for _, x := range spans(s.Lost) {
		fmt.Fprintln(cmd.OutOrStdout(), x)
	}
	return nil
}
