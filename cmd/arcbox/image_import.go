package main

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
)

func newImageImport(a *app) *cobra.Command {
	var name, sum, arch string
	cmd := &cobra.Command{
		Use:   "import FILE|URL|- [NAME]",
		Short: "Make an image of an archive",
		Long: "Make an image of a root file system in a tar, plain or compressed with gzip, xz or\n" +
			"zstd, and print its digest. Owners, modes, times, links, devices and extended\n" +
			"attributes are kept. An http URL needs --sha256. - is standard input, whose image\n" +
			"needs a name.",
		Example: "  arcbox image import ./rootfs.tar.zst base\n  arcbox image import https://example.org/rootfs.tar.xz --sha256 …\n" +
			"  mmdebstrap bookworm - | arcbox image import - debian-mine",
		Args: imageArgs(1, 2),
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the image; the file's, without its endings, where none is given")
	cmd.Flags().StringVar(&sum, "sha256", "", "the archive's SHA-256; any other archive is refused")
	addArch(a, cmd, &arch)
	here := a.imageVerb(func(ctx context.Context, s *image.Store, args []string) error {
		if err := checkArch(arch); err != nil {
			return err
		}
		if len(args) == 2 {
			if name != "" && name != args[1] {
				return badInput("name", "the image is to be called %q, and --name says %q: say one of them", shorten(args[1], 80), shorten(name, 80))
			}
			name = args[1]
		}
		if args[0] == image.Stream {
			return a.importStream(ctx, s, name, sum, arch)
		}
		ref, err := archiveRef(args[0], name, sum)
		if err != nil {
			return err
		}
		return a.pullImage(ctx, s, ref, pull.Options{Architecture: arch})
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !a.isFar() {
			return here(cmd, args)
		}
		return a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.importThere(ctx, cmd, args, name)
		})(cmd, args)
	}
	return cmd
}

// importThere sends an archive of this host's to the arcbox of the engine's host.
func (a *app) importThere(ctx context.Context, cmd *cobra.Command, args []string, name string) error {
	from := a.stdin
	if args[0] == image.Stream {
		if terminalFile(a.stdin) != nil {
			return errTerminalImage()
		}
	} else {
		ref, err := archiveRef(args[0], name, "")
		if err != nil {
			return imageFailure(err)
		}
		if strings.Contains(ref.Source, "://") {
			_, err = a.there(ctx, cmd, args, nil)
			return err
		}
		f, err := os.Open(ref.Source)
		if err != nil {
			return unreadable(args[0], err)
		}
		defer f.Close()
		from = f
		if len(args) == 2 {
			ref.Name = args[1]
		}
		args = []string{image.Stream, ref.Name}
	}
	_, err := a.there(ctx, cmd, args, from)
	return err
}

func errTerminalImage() error {
	return badInput("image", "- is standard input, which is a terminal here: pipe an archive into it (tar -C DIR -c . | arcbox image import - NAME)")
}

// imageHere refuses an archive of this host for an engine elsewhere.
func (a *app) imageHere(reference string) error {
	p, err := a.choice()
	if err != nil || p.remote == nil {
		return err
	}
	ref, err := image.Parse(reference)
	if err != nil || ref.Kind != image.Tarball || strings.Contains(ref.Source, "://") {
		return nil //nolint:nilerr // arcbox there says what is wrong with it
	}
	return p.notHere("image", reference, "arcbox --context "+p.name+" image import "+reference+" "+ref.Name)
}

// importStream makes an image of what comes on standard input.
func (a *app) importStream(ctx context.Context, s *image.Store, name, sum, arch string) error {
	if terminalFile(a.stdin) != nil {
		return errTerminalImage()
	}
	if name == "" {
		return badInput("name", "an image of standard input needs a name: arcbox image import - NAME")
	}
	ref, err := image.FromStream(name)
	if err != nil {
		return err
	}
	if ref, err = checked(ref, sum); err != nil {
		return err
	}
	stream, done := readerUntil(ctx, a.stdin)
	defer done()
	return a.pullImage(ctx, s, ref, pull.Options{Stream: stream, Architecture: arch})
}

// archiveRef is the reference to an archive with what the flags say of it. A
// file needs not look like one.
func archiveRef(arg, name, sum string) (image.Ref, error) {
	ref, err := image.Parse(arg)
	if err != nil || ref.Kind != image.Tarball {
		ref, err = image.Parse("./" + arg)
	}
	if err == nil && name != "" {
		ref, err = ref.Named(name)
	}
	if err != nil {
		return ref, err
	}
	return checked(ref, sum)
}

// checked is a reference with the digest that the flag asks for.
func checked(ref image.Ref, sum string) (image.Ref, error) {
	if sum == "" {
		return ref, nil
	}
	ref, err := ref.Checked(sum)
	if err != nil {
		return ref, badInput("sha256", "--sha256: %v", err)
	}
	return ref, nil
}
