package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
)

func newImageImport(a *app) *cobra.Command {
	var name, sum string
	cmd := &cobra.Command{
		Use:   "import FILE|URL",
		Short: "Make an image of an archive",
		Long: "Make an image of a root file system in a tar, plain or compressed with gzip, xz or\n" +
			"zstd, and print its digest. Owners, modes, times, links, devices and extended\n" +
			"attributes are kept. An http URL needs --sha256.",
		Example: "  arcbox image import ./rootfs.tar.zst --name base\n  arcbox image import https://example.org/rootfs.tar.xz --sha256 …",
		Args:    imageArgs(1, 1),
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the image; the file's, without its endings, where none is given")
	cmd.Flags().StringVar(&sum, "sha256", "", "the archive's SHA-256; any other archive is refused")
	cmd.RunE = a.imageVerb(func(ctx context.Context, s *image.Store, args []string) error {
		ref, err := archiveRef(args[0], name, sum)
		if err != nil {
			return err
		}
		return a.pullImage(ctx, s, ref, pull.DefaultIndex)
	})
	return cmd
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
	if err == nil && sum != "" {
		ref, err = ref.Checked(sum)
		if err != nil {
			return ref, badInput("sha256", "--sha256: %v", err)
		}
	}
	return ref, err
}
