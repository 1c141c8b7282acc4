package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

func newImageInspect(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "inspect IMAGE",
		Short:             "Show what is known of an image",
		Long:              "Show what is known of an image, by its name, its digest, or the beginning of that.\n--format json prints one object.",
		Args:              imageArgs(1, 1),
		ValidArgsFunction: a.completeImages(1),
		RunE: a.imageVerb(func(_ context.Context, s *image.Store, args []string) error {
			i, err := s.Find(args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(i)
			}
			return a.printFacts([]fact{
				{"names", strings.Join(i.Names, ", ")},
				{"digest", i.Digest},
				{"file", i.Path},
				{"size", roundSize(i.Size)},
				{"files", fmt.Sprint(i.Files)},
				{"created", a.when(i.Created.UnixNano())},
				{"distribution", i.Origin.Distribution},
				{"version", i.Origin.Version},
				{"architecture", i.Origin.Architecture},
				{"source", i.Origin.Reference},
				{"source digest", i.Origin.Digest},
			})
		}),
	}
}
