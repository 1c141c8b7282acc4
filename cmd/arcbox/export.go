package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/archive"
	whole "github.com/arcboxlabs/arcbox-engine/guest/files"
	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

func newExport(a *app) *cobra.Command {
	var withImage bool
	cmd := &cobra.Command{
		Use:   "export NAME FILE|-",
		Short: "Write a machine into one file",
		Long: "Write a machine that does not run into one file, to import it elsewhere or to keep it:\n" +
			"what it is, and its own disk without the holes, packed with zstd and with its SHA-256\n" +
			"(docs/archive.md). It can't be started meanwhile. Not in it are its SSH keys, its\n" +
			"set-up's script, and what further disks and shared directories hold. What programs\n" +
			"keep on its disk is, their secrets too: the file is readable by you alone.\n\n" +
			"FILE must not be there yet; it appears when it is whole. Ctrl-C leaves nothing. -\n" +
			"is standard output.",
		Example: "  arcbox stop web && arcbox export web web.arcbox\n  arcbox export web - --with-image | ssh other arcbox import -",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 || args[1] == "" {
				return badInput("", "%s: the name of a machine and a file are wanted", cmd.CommandPath())
			}
			return checkName(args[0])
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.completeNames(1)(cmd, args, part)
		},
	}
	cmd.Flags().BoolVar(&withImage, "with-image", false, "with its image, for where that can't be pulled")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		x := exporting{a: a, name: args[0], to: args[1], withImage: withImage}
		if err := x.check(); err != nil {
			return err
		}
		e, err := a.engine(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		if err := x.run(ctx, e); err != nil {
			return err
		}
		return x.print()
	})
	return cmd
}

// exporting is one export.
type exporting struct {
	a         *app
	name, to  string
	withImage bool

	m     archive.Manifest
	image *os.File // nil = it is not asked for
	done  atomic.Int64
	size  int64 // of the file
}

// check refuses what would fail for sure, before anybody is asked.
func (x *exporting) check() error {
	if x.to == "-" {
		if terminalFile(x.a.stdout) != nil {
			return badInput("file", "- is standard output, which is a terminal here: name a file, or say where it goes (arcbox export %s - | …)", x.name)
		}
		return nil
	}
	if _, err := os.Lstat(x.to); err == nil {
		return thereAlready(x.to)
	}
	return nil
}

func thereAlready(path string) error {
	return &failure{code: exitConflict, kind: "conflict", field: "file", hint: "ls -l " + path,
		message: fmt.Sprintf("file %q is there already: name another, or remove it", path)}
}

// run writes the archive.
func (x *exporting) run(ctx context.Context, e engine) (err error) {
	from, err := ask[*wire.Exporting](ctx, e, &wire.ExportMachine{Name: x.name})
	if err != nil {
		return err
	}
	d, err := openDisk(ctx, e, from.GetTicket())
	if err != nil {
		return err
	}
	defer d.close()
	if err := x.manifest(from.GetMachine(), d.size()); err != nil {
		return err
	}
	if x.image != nil {
		defer func() { _ = x.image.Close() }() // only read
	}
	defer x.a.moving(ctx, "exporting "+x.name, &x.done, 0)()
	if x.to == "-" {
		return x.write(ctx, x.a.stdout, d)
	}
	out, err := whole.NewHidden(x.to)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer out.Close()
	if err := x.write(ctx, out.File, d); err != nil {
		return err
	}
	if info, err := out.File.Stat(); err == nil {
		x.size = info.Size()
	}
	if err := out.Show(); errors.Is(err, os.ErrExist) {
		return thereAlready(x.to)
	} else if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// manifest says what the archive has. Of its image the command knows only what is
// beside it.
func (x *exporting) manifest(m *wire.Machine, disk int64) error {
	spec, err := archivedSpec(m.GetSpec())
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	x.m = archive.Manifest{ArcBox: buildVersion(), Made: x.a.now().UTC(), Name: m.GetName(), Spec: spec}
	if disk > 0 {
		x.m.Disk = &archive.Disk{Size: disk}
	}
	if m.GetSpec().GetImage() == "" {
		if x.withImage {
			return badInput("with-image", "--with-image: machine %q has no image", x.name)
		}
		return nil
	}
	x.m.Image = &archive.Image{Digest: m.GetSpec().GetImage(), Name: m.GetSpec().GetImageName()}
	if x.a.isFar() && !x.withImage {
		return nil
	}
	s, err := x.a.images()
	if err != nil {
		return err
	}
	i, err := s.Find(x.m.Image.Digest)
	if err == nil {
		x.m.Image = archivedImage(i, x.m.Image.Name)
		if x.withImage {
			x.m.Image.Included = true
			x.image, err = whole.Open(i.Path)
		}
	}
	if x.withImage {
		return imageFailure(err)
	}
	return nil
}

func archivedImage(i image.Image, name string) *archive.Image {
	return &archive.Image{
		Digest: i.Digest, Name: name, Size: i.Size, Kind: string(i.Origin.Kind), Source: i.Origin.Reference, SourceDigest: i.Origin.Digest,
		Distribution: i.Origin.Distribution, Version: i.Origin.Version, Architecture: i.Origin.Architecture, Files: i.Files,
	}
}

func (x *exporting) write(ctx context.Context, to io.Writer, d *diskSource) error {
	w, err := archive.NewWriter(to, x.m)
	if err == nil && x.image != nil {
		in, done := readerUntil(ctx, x.image)
		err = w.Image(counted{in, &x.done})
		done()
	}
	if err == nil {
		err = d.each(func(at int64, b []byte) error {
			x.done.Add(int64(len(b)))
			return w.Piece(at, b)
		})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

type exportedJSON struct {
	Name  string `json:"name"`
	File  string `json:"file"`
	Bytes int64  `json:"bytes"` // of the file
	Disk  int64  `json:"disk"`  // as the guest sees it; 0 = it has none yet
	Image bool   `json:"image"` // it is in the file
}

// print says what was written, where standard output is not the archive itself.
func (x *exporting) print() error {
	out := exportedJSON{Name: x.m.Name, File: x.to, Bytes: x.size, Image: x.image != nil}
	if x.m.Disk != nil {
		out.Disk = x.m.Disk.Size
	}
	switch {
	case x.to == "-", x.a.quiet && !x.a.json():
		return nil
	case x.a.json():
		return x.a.printJSON(out)
	}
	_, err := fmt.Fprintf(x.a.stdout, "%s: exported to %s (%s)\n", printable(x.m.Name), printable(x.to), sizeText(x.size))
	return err
}
