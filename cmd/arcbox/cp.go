package main

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/tree"
)

// copying is one cp.
type copying struct {
	user  string
	links bool
	from  []place
	to    place
}

func newCopy(a *app) *cobra.Command {
	var c copying
	cmd := &cobra.Command{
		Use:     "cp SOURCE... TARGET",
		Aliases: []string{"copy"},
		Short:   "Copy files and directories into a machine, or out of it",
		Long: "Copy files and directories into a machine, or out of it. What is in a machine is\n" +
			"NAME:PATH; a PATH without / at its beginning starts in the user's home. - is\n" +
			"standard input, or output, as one file.\n\n" +
			"As with cp -r: where the target is a directory the copy goes into it, SOURCE/. puts\n" +
			"a directory's contents there, files that are there are replaced, directories are\n" +
			"joined. Permissions, times, links and holes are kept, setuid and setgid are not. A\n" +
			"file that is replaced keeps its owner, and where the source is - its permissions. A\n" +
			"file is in its place when it is whole, and not before: Ctrl-C leaves no half one.\n\n" +
			"Out of a machine, links that lead out of the copy are left out (--links keeps them):\n" +
			"the guest chose where they lead. So are devices, sockets and pipes, both ways. What\n" +
			"was left out is told, with exit code 7.",
		Example: "  arcbox cp notes.txt src web:\n  arcbox cp -u www-data site web:/srv/\n  arcbox cp web:/var/log .\n" +
			"  arcbox cp web:/etc/os-release - | head -n 1\n  zcat dump.gz | arcbox cp - web:/tmp/dump",
		Args:              func(_ *cobra.Command, args []string) error { return c.parse(args) },
		ValidArgsFunction: a.completePlaces,
	}
	f := cmd.Flags()
	f.StringVarP(&c.user, "user", "u", "", "name, uid, name:group or uid:gid: in whose home paths begin, and whose copies there are (default: root)")
	f.BoolVar(&c.links, "links", false, "keep links that lead out of the copy")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error { return a.copy(ctx, &c) })
	return cmd
}

// place is a file here or in a machine, or one of the streams.
type place struct {
	machine string // "" = here
	path    string
	stream  bool
}

func (p place) String() string {
	switch {
	case p.stream:
		return "-"
	case p.machine != "":
		return p.machine + ":" + p.path
	}
	return p.path
}

// parsePlace takes for a machine's what begins with a name and a colon; a file
// here that looks so is written ./a:b.
func parsePlace(arg string) place {
	name, in, ok := strings.Cut(arg, ":")
	switch {
	case arg == "-":
		return place{stream: true}
	case ok && checkName(name) == nil:
		return place{machine: name, path: in}
	}
	return place{path: arg}
}

// name is what a copy of it is called: "." where its path names none.
func (p place) name() string {
	if p.stream {
		return ""
	}
	if last := path.Base(p.path); last != ".." && last != "/" && !strings.HasSuffix(p.path, "/.") {
		return last
	}
	return "."
}

// parse takes the command line apart, and refuses what is no copy between here
// and one machine.
func (c *copying) parse(args []string) error {
	if len(args) < 2 {
		return badInput("", "cp: want at least one source, and a target")
	}
	for _, arg := range args {
		if arg == "" {
			return badInput("", "cp: an empty path; . is this directory, NAME: is a machine's home directory")
		}
		c.from = append(c.from, parsePlace(arg))
	}
	last := len(c.from) - 1
	c.from, c.to = c.from[:last], c.from[last]
	for _, from := range c.from {
		switch {
		case from.machine == "" && c.to.machine == "":
			f := badInput("", "cp: neither %s nor %s is in a machine", from, c.to)
			f.hint = "arcbox cp " + from.String() + " NAME:" + c.to.String()
			return f
		case from.machine != "" && c.to.machine != "":
			f := badInput("", "cp: %s and %s are both in machines", from, c.to)
			f.hint = "arcbox cp " + from.String() + " - | arcbox cp - " + c.to.String()
			return f
		case from.machine != c.from[0].machine:
			return badInput("", "cp: %s and %s are in two machines: one at a time", c.from[0], from)
		case (from.stream || c.to.stream) && len(c.from) > 1:
			return badInput("", "cp: - is one file, and goes with no other")
		}
	}
	return nil
}

// copy carries out a cp.
func (a *app) copy(ctx context.Context, c *copying) error {
	machine := c.to.machine + c.from[0].machine // one of them is ""
	return a.withGuest(ctx, machine, func(ctx context.Context, g *guest.Client) error {
		var stats tree.Stats
		stop := a.copyProgress(ctx, &stats)
		defer stop()
		for _, from := range c.from {
			var err error
			if c.to.machine != "" {
				err = a.copyIn(ctx, g, c, from, &stats)
			} else {
				err = a.copyOut(ctx, g, c, from, &stats)
			}
			if err != nil {
				return err
			}
		}
		return leftOut(stats.Count())
	})
}

func (a *app) copyIn(ctx context.Context, g *guest.Client, c *copying, from place, stats *tree.Stats) error {
	to := guest.CopyTarget{Path: c.to.path, Name: from.name(), Into: len(c.from) > 1, User: c.user}
	return g.CopyIn(ctx, to, func(ctx context.Context, sink tree.Sink) error {
		if from.stream {
			stdin, done := readerUntil(ctx, a.stdin)
			defer done()
			return tree.SendStream(ctx, stdin, sink, stats)
		}
		return tree.Send(ctx, from.path, sink, stats)
	})
}

func (a *app) copyOut(ctx context.Context, g *guest.Client, c *copying, from place, stats *tree.Stats) error {
	return g.CopyOut(ctx, from.path, c.user, func(next tree.Source) error {
		if c.to.stream {
			return tree.ReceiveStream(a.guestWriter(a.stdout), next, stats)
		}
		to := tree.Target{Path: filepath.FromSlash(c.to.path), Name: from.name(), Into: len(c.from) > 1, Links: c.links}
		return tree.Receive(to, next, stats)
	})
}

// leftOut is the end of a copy that is not all of it.
func leftOut(c tree.Count) error {
	if c.Left == 0 {
		return nil
	}
	f := &failure{code: exitUnsafe, kind: "unsafe"}
	f.message = fmt.Sprintf("%d left out, the rest is copied:\n%s", c.Left, strings.Join(c.LeftNames, "\n"))
	if more := c.Left - int64(len(c.LeftNames)); more > 0 {
		f.message += fmt.Sprintf("\nand %d more", more)
	}
	f.hint = "arcbox help cp"
	return f
}
