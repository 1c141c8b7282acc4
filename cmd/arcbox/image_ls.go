package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

var imageHeader = []string{"NAME", "DISTRIBUTION", "VERSION", "ARCH", "SIZE", "AGE", "DIGEST"}

func newImageList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List images",
		Long: "List the images that are here, the newest first. One that has several names has a\n" +
			"line for each. -q prints names only, the digest where there is none; --format\n" +
			"json one array. What is damaged is said, and the others are listed nevertheless.",
		Args: noArgs,
		RunE: a.imageVerb(func(_ context.Context, s *image.Store, _ []string) error {
			list, err := s.List()
			if printErr := a.printImages(list); printErr != nil {
				return printErr
			}
			return err
		}),
	}
}

func (a *app) printImages(list []image.Image) error {
	switch {
	case a.json():
		return a.printJSON(list)
	case a.quiet:
		var b strings.Builder
		for _, i := range list {
			for _, name := range namesOrDigest(i, i.Digest) {
				b.WriteString(printable(name) + "\n")
			}
		}
		_, err := fmt.Fprint(a.stdout, b.String())
		return err
	case len(list) == 0:
		a.note("no images yet; arcbox image pull debian brings one")
	}
	var rows [][]string
	for _, i := range list {
		for _, name := range namesOrDigest(i, "") {
			o := i.Origin
			rows = append(rows, []string{
				name, o.Distribution, o.Version, o.Architecture, roundSize(i.Size), age(a.now().Sub(i.Created)), short(i.Digest),
			})
		}
	}
	return a.printTable(imageHeader, rows)
}

// namesOrDigest are the names of an image, or what stands for it without one.
func namesOrDigest(i image.Image, without string) []string {
	if len(i.Names) == 0 {
		return []string{without}
	}
	return i.Names
}

// short is as much of a digest as tells images apart.
func short(digest string) string {
	_, sum, _ := strings.Cut(digest, ":")
	return sum[:min(12, len(sum))]
}

// roundSize is a size for people: 214.0 MiB.
func roundSize(n int64) string {
	size, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
