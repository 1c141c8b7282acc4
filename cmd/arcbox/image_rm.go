package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

func newImageRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm IMAGE...",
		Aliases: []string{"remove"},
		Short:   "Remove images",
		Long: "Remove names of images, and an image with its last name; by its digest an image\n" +
			"goes with all its names. What a machine uses stays.",
		Example:           "  arcbox image rm debian:12\n  arcbox image rm 0f3a91c2",
		Args:              imageArgs(1, manyNames),
		ValidArgsFunction: a.completeImages(manyNames),
		RunE: a.imageVerb(func(ctx context.Context, s *image.Store, args []string) error {
			var all image.Removed
			first := 0
			for _, reference := range args {
				done, err := s.Remove(ctx, reference, a.imageUsers(ctx))
				if err != nil { // the others are removed nevertheless
					if code := a.fail(imageFailure(err)); first == 0 {
						first = code
					}
					continue
				}
				all.Names, all.Digests, all.Bytes = append(all.Names, done.Names...), append(all.Digests, done.Digests...), all.Bytes+done.Bytes
			}
			if err := a.printRemoved(all); err != nil || first == 0 {
				return err
			}
			return exitWith(first)
		}),
	}
}

// printRemoved prints the digests of images that are gone.
func (a *app) printRemoved(r image.Removed) error {
	if a.json() { // a list in JSON is never null
		r.Names, r.Digests = append([]string{}, r.Names...), append([]string{}, r.Digests...)
		return a.printJSON(r)
	}
	for _, d := range r.Digests {
		if _, err := fmt.Fprintln(a.stdout, d); err != nil {
			return err
		}
	}
	if len(r.Digests) > 0 {
		a.note("%s freed", roundSize(r.Bytes))
	}
	return nil
}
