package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
)

func newImagePull(a *app) *cobra.Command {
	var server, arch string
	cmd := &cobra.Command{
		Use:   "pull REFERENCE",
		Short: "Bring an image",
		Long: "Bring what a reference stands for now, and print its digest; what is here already\n" +
			"is not downloaded again. Where the same is being pulled by another command, this\n" +
			"one waits for it. For registries, Docker's configuration says who you are. Ctrl-C\n" +
			"ends the pull and leaves nothing behind.",
		Example: "  arcbox image pull debian:12\n  arcbox image pull docker.io/library/alpine:3.22",
		Args:    imageArgs(1, 1),
	}
	addServer(a, cmd, &server)
	addArch(a, cmd, &arch)
	cmd.RunE = a.imageVerb(func(ctx context.Context, s *image.Store, args []string) error {
		ref, err := image.Parse(args[0])
		if err != nil {
			return err
		}
		if err := checkArch(arch); err != nil {
			return err
		}
		return a.pullImage(ctx, s, ref, pull.Options{Index: server, Architecture: arch})
	})
	here := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.imageHere(args[0]); err != nil {
			a.ran = true
			return err
		}
		return here(cmd, args)
	}
	return cmd
}

// addArch adds the flag with the architecture of an image.
func addArch(a *app, cmd *cobra.Command, arch *string) {
	cmd.Flags().StringVar(arch, "arch", "", "its architecture: "+strings.Join(archs, " or ")+" (default: the host's)")
	a.complete(cmd, "arch", archs...)
}

func checkArch(arch string) error {
	if arch == "" || slices.Contains(archs, arch) {
		return nil
	}
	return badInput("arch", "--arch %q: %s", shorten(arch, 80), strings.Join(archs, " or "))
}

// addServer adds the flag with the index of machine images.
func addServer(a *app, cmd *cobra.Command, server *string) {
	usual := pull.DefaultIndex
	if set := a.env(serverVar); set != "" {
		usual = set
	}
	cmd.Flags().StringVar(server, "server", usual, "URL of the simplestreams index of machine images ("+serverVar+")")
}

// pullImage brings an image and prints it.
func (a *app) pullImage(ctx context.Context, s *image.Store, ref image.Ref, o pull.Options) error {
	i, err := a.bringImage(ctx, s, ref, o)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(i)
	}
	a.note("%s is %s", ref.Name, imageText(i))
	_, err = fmt.Fprintln(a.stdout, i.Digest)
	return err
}

// bringImage brings an image, and shows how far it is.
func (a *app) bringImage(ctx context.Context, s *image.Store, ref image.Ref, o pull.Options) (image.Image, error) {
	o.Now = a.now
	from := pull.Into(s, o)
	defer from.Close()
	hear, done := a.bar(ref.String())
	defer done()
	return from.Pull(ctx, ref, hear)
}
