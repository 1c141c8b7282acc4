package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "arcbox",
		Short: "Create, run and look after Linux machines",
		Long: "arcbox creates, runs and looks after Linux machines.\n\n" +
			"Machines outlive the engine, their whole life is in a journal, and\n" +
			"arcbox journal why NAME tells what happened and what follows.",
		Version:       buildVersion(),
		Example:       "  arcbox up                       # a machine called default, running\n  arcbox shell\n  arcbox exec default -- uname -a\n  arcbox journal why default",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.checkGlobals(cmd) },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	f := root.PersistentFlags()
	f.StringVar(&a.homeFlag, "home", "", "directory with everything of one engine (ARCBOX_HOME)")
	f.StringVar(&a.contextFlag, "context", "", "the engine of another host, by its name (ARCBOX_CONTEXT; see arcbox context)")
	f.StringVar(&a.format, "format", "table", "table or json, for lists also a template: '{{.name}}'")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "names and answers only, no notes and no progress")
	f.BoolVar(&a.noAutostart, "no-autostart", false, "never start the engine")
	f.BoolVar(&a.untilHangup, hangupFlag, false, "end when nobody reads standard output any more")
	if err := f.MarkHidden(hangupFlag); err != nil {
		panic(err) // it was added above
	}
	err := root.RegisterFlagCompletionFunc("context", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		return a.completeContexts(cmd, nil, part)
	})
	if err != nil {
		panic(err) // a flag that is not there
	}
	a.complete(root, "format", "table", "json")
	group(root)
	root.AddCommand(
		newCreate(a), newStart(a), newStop(a), newRestart(a), newPause(a), newResume(a), newSuspend(a), newRemove(a), newUp(a), newRun(a), newSet(a), newExport(a), newImport(a), newProtect(a), newUnprotect(a), newRename(a), newClone(a), newDefault(a), newPort(a), newProvision(a),
		newList(a), newInspect(a), newWait(a), newLogs(a),
		newExec(a), newShell(a), newSSH(a), newSSHConfig(a), newSSHProxy(a), newCopy(a), newPing(a), newInfo(a),
		newImage(a), newDisk(a), newKernel(a), newJournal(a), newEngine(a), newContext(a), newDoctor(a), newVersion(a), newMan(a),
	)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			group(cmd) // cobra's takes a shell that it does not know for a wish for help
		}
	}
	return root
}

func (a *app) checkGlobals(cmd *cobra.Command) error {
	if a.format == "text" {
		a.format = "table"
	}
	if slices.Contains([]string{"table", "json"}, a.format) {
		return nil
	}
	bad := a.format
	a.format = "table" // for the error itself
	if !isTemplate(bad) {
		return badInput("format", "format %q: table or json, or a template where rows are listed", shorten(bad, 80))
	}
	if cmd.Annotations[ownTemplate] == "" {
		return badInput("format", "format %q: %s takes table or json, and no template", shorten(bad, 80), cmd.CommandPath())
	}
	if _, err := parseTemplate(bad); err != nil {
		return badTemplate(bad, err)
	}
	a.format = bad
	return nil
}

// group makes a command of subcommands: alone it prints its help, and a word
// that it does not know is refused with what it may have meant.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		f := badInput("", "unknown command %q for %q", args[0], cmd.CommandPath())
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			f.hint = "did you mean " + strings.Join(like, " or ") + "?\n" + helpHint(cmd)
		}
		if cmd.Flags().Lookup("machine") != nil { // the word may be a machine's name
			f.hint = cmd.CommandPath() + " --machine " + shorten(args[0], 80) + "\n" + cmp.Or(f.hint, helpHint(cmd))
		}
		return f
	}
	cmd.SuggestionsMinimumDistance = likeness
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// likeness is how many letters may differ in what may have been meant.
const likeness = 2

// similar lists the words that may have been meant by one that is none of them, as
// cobra does for commands.
func similar(word string, words []string) []string {
	cmd := &cobra.Command{SuggestionsMinimumDistance: likeness}
	for _, w := range words {
		cmd.AddCommand(&cobra.Command{Use: w, Run: func(*cobra.Command, []string) {}}) // without Run it would be none
	}
	return cmd.SuggestionsFor(word)
}

// didYouMean asks whether one of the words was meant, which stand behind a prefix; ""
// where none comes near.
func didYouMean(word string, words []string, prefix string) string {
	near := similar(word, words)
	if len(near) == 0 {
		return ""
	}
	slices.Sort(near)
	return "did you mean " + prefix + strings.Join(near[:min(len(near), 3)], " or "+prefix) + "?"
}

// checkName refuses what can't be a machine's name, before anything is asked.
func checkName(name string) error { return checkWord("name", name, "arcbox list") }

// checkWord refuses what can't be a name; next shows those that there are.
func checkWord(field, name, next string) error {
	ok := len(name) >= 1 && len(name) <= 63 && name[0] != '-' && name[len(name)-1] != '-'
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}
	if ok {
		return nil
	}
	f := badInput(field, "%s %q: 1 to 63 letters, digits and hyphens, with a letter or digit at both ends", field, shorten(name, 80))
	f.hint = next
	return f
}

// named wants from least to most names of machines.
func named(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return badInput("name", "%s: the name of a machine is missing", cmd.CommandPath())
		case len(args) > most:
			return badInput("", "%s: %d arguments, at most %d", cmd.CommandPath(), len(args), most)
		}
		for _, name := range args {
			if err := checkName(name); err != nil {
				return err
			}
		}
		return nil
	}
}

// manyNames is how many machines one command may name.
const manyNames = 1000

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return badInput("", "%s takes no argument, and got %s", cmd.CommandPath(), fmt.Sprintf("%q", args[0]))
	}
	return nil
}
