package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/archive"
)

// notImported are create's flags about what an archive itself has, or has had.
var notImported = []string{"image", "server", "file", "script", "user-data", "provision", "provision-timeout"}

func newImport(a *app) *cobra.Command {
	x := importing{a: a}
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Make a machine of a file that export wrote",
		Long: "Make a machine of a file that arcbox export wrote, with its disk. All of it is checked\n" +
			"while it is read, and the machine is there when all of it is: what is damaged, cut off\n" +
			"or interrupted leaves nothing. It is not started.\n\n" +
			"The machine is a new one: its id, machine-id, address and SSH keys are its own; what is\n" +
			"on its disk is what was there. What the archive says of the other host (ports, sockets,\n" +
			"directories, further disks, a kernel or an initramfs) is not taken over, but told: the\n" +
			"flags of arcbox create say it again, and go before the archive. The image has to be\n" +
			"here (arcbox image pull), unless the archive was exported --with-image.",
		Example: "  arcbox import web.arcbox\n  arcbox import web.arcbox --name web2 --memory 8G -p 8081:80\n  ssh other arcbox export web - | arcbox import -",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return badInput("file", "%s: one file is wanted, or - for standard input", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	x.flags.add(a, cmd)
	for _, name := range notImported {
		if err := cmd.Flags().MarkHidden(name); err != nil {
			panic(err) // a flag that is not there
		}
	}
	cmd.Flags().StringVar(&x.name, "name", "", "name of the machine (default: the one that it had)")
	cmd.RunE = a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		for _, name := range notImported {
			if cmd.Flags().Changed(name) {
				return usage(cmd, badInput(name, "--%s: that is for arcbox create; a machine that is imported has its own", name))
			}
		}
		return x.run(ctx, cmd, args[0])
	})
	return cmd
}

// importing is one import.
type importing struct {
	a     *app
	name  string
	flags specFlags

	from string // where it comes from, for people
	done atomic.Int64
	size int64 // of the file; 0 = nobody knows
}

func (x *importing) run(ctx context.Context, cmd *cobra.Command, file string) error {
	in, closeIn, err := x.open(ctx, file)
	if err != nil {
		return err
	}
	defer closeIn()
	r, err := archive.NewReader(counted{in, &x.done})
	if err != nil {
		return x.failed(ctx, err)
	}
	defer r.Close()
	spec, err := x.spec(cmd, r.Manifest)
	if err != nil {
		return err
	}
	e, err := x.a.engine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := x.nameFree(ctx, e); err != nil {
		return err
	}
	image, err := x.image(ctx, r.Manifest)
	if err != nil {
		return err
	}
	defer image.close()
	stop := x.a.moving(ctx, "importing "+x.name, &x.done, x.size)
	defer stop()
	done, err := x.bring(ctx, e, r, spec, image)
	if err != nil {
		return err
	}
	stop()
	for _, flag := range x.flags.archived.left {
		x.a.note("%s: not taken over from the other host: %s", x.name, flag)
	}
	return x.a.printDone(x.name, done, false)
}

// open opens the archive, which may be a pipe.
func (x *importing) open(ctx context.Context, file string) (io.Reader, func(), error) {
	if x.from = file; file == "-" {
		if terminalFile(x.a.stdin) != nil {
			return nil, nil, badInput("file", "- is standard input, which is a terminal here: name a file, or pipe an archive into it")
		}
		x.from = "standard input"
		in, done := readerUntil(ctx, x.a.stdin)
		return in, done, nil
	}
	f, err := os.Open(file) //nolint:gosec // the person's own
	if err != nil {
		return nil, nil, unreadable(file, err)
	}
	switch info, err := f.Stat(); {
	case err != nil, info.IsDir():
		return nil, nil, errors.Join(unreadable(file, cmp.Or(err, error(syscall.EISDIR))), f.Close())
	case info.Mode().IsRegular():
		x.size = info.Size()
	}
	in, done := readerUntil(ctx, f)
	return in, func() { done(); _ = f.Close() }, nil // only read
}

// unreadable is a file that can't be opened.
func unreadable(file string, err error) error {
	f := &failure{code: exitGeneral, kind: "failed", field: "file", message: fmt.Sprintf("file %q: %v", file, rootCause(err)), hint: "ls -l " + file, cause: err}
	if errors.Is(err, fs.ErrNotExist) {
		f.code, f.kind = exitNotFound, "not-found"
	}
	return f
}

// failed is an error of the reading.
func (x *importing) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return badArchive(x.from, err)
}

// spec is what the machine is to be: the flags, and then the archive.
func (x *importing) spec(cmd *cobra.Command, m archive.Manifest) (*wire.Spec, error) {
	var err error
	if x.flags.archived, err = readArchived(m, x.from); err != nil {
		return nil, err
	}
	x.name = cmp.Or(x.name, m.Name)
	if err := checkName(x.name); err != nil {
		return nil, usage(cmd, err)
	}
	spec, err := x.flags.spec(cmd)
	x.flags.archived.said(x.flags.typed)
	if err != nil || m.Image == nil {
		return spec, err
	}
	if arch, here := m.Image.Architecture, cmp.Or(spec.GetArch(), runtime.GOARCH); arch != "" && arch != here && (spec.GetArch() != "" || !x.a.isFar()) {
		return nil, &failure{code: exitConflict, kind: "conflict", field: "arch", hint: "arcbox import " + x.from + " --arch " + shorten(printable(arch), 40),
			message: fmt.Sprintf("%s: its image is for %.40q, and the machine would be %s", x.from, arch, here)}
	}
	spec.Image, spec.ImageName, spec.Disk = m.Image.Digest, m.Image.Name, int64(x.flags.disk)
	return spec, nil
}

// nameFree says that a name is taken before anything is read. The engine has the
// last word.
func (x *importing) nameFree(ctx context.Context, e engine) error {
	m, err := tryAsk[*wire.Machine](ctx, e, &wire.InspectMachine{Name: x.name})
	if r, ok := errors.AsType[*client.RefusedError](err); ok && r.Code == wire.Code_CODE_NOT_FOUND {
		return nil
	}
	if err != nil {
		return err
	}
	return &failure{code: exitConflict, kind: "conflict", field: "name", machine: m.GetName(), hint: "arcbox import " + x.from + " --name NEW",
		message: fmt.Sprintf("there is a machine %q already", m.GetName())}
}

// bring reads the archive to its end, and asks for the machine when all of it is
// there.
func (x *importing) bring(ctx context.Context, e engine, r *archive.Reader, spec *wire.Spec, image *importedImage) (*wire.Done, error) {
	msg := &wire.CreateMachine{Request: request(), Name: x.name, Spec: spec}
	var d *diskSink
	var piece func(int64, []byte) error
	if r.Disk != nil {
		var err error
		if d, err = stageDisk(ctx, e, r.Disk.Size); err != nil {
			return nil, err
		}
		defer d.close()
		piece = d.piece
	}
	if err := r.Rest(image.writer(), piece); err != nil {
		d.give(err)
		return nil, x.failed(ctx, err)
	}
	if d != nil {
		stage, err := d.end()
		if err != nil {
			return nil, x.failed(ctx, err)
		}
		msg.Stage = stage
	}
	if err := image.commit(ctx); err != nil {
		return nil, err
	}
	done, err := x.a.createWith(ctx, e, msg)
	if err != nil {
		image.takeBack()
	}
	return done, err
}
