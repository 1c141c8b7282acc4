package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
)

func newImageList(a *app) *cobra.Command {
	l := imageListing(a)
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List images",
		Long: "List the images that are here, the newest first. One that has several names has a\n" +
			"line for each. -q prints names only, the digest where there is none; --format\n" +
			"json one array. What is damaged is said, and the others are listed nevertheless.",
		Example: "  arcbox image ls --filter distribution=debian --sort -size",
		Args:    noArgs,
	}
	listFlags(a, cmd, l)
	cmd.RunE = a.imageVerb(func(_ context.Context, s *image.Store, _ []string) error {
		list, err := s.List()
		if printErr := l.print(a, namedImages(list), "no images yet; arcbox image pull debian brings one"); printErr != nil {
			return printErr
		}
		return err
	})
	return cmd
}

// namedImage is an image under one of its names, or under none.
type namedImage struct {
	image.Image
	name string
}

func namedImages(list []image.Image) []namedImage {
	var rows []namedImage
	for _, i := range list {
		for _, name := range namesOrDigest(i, "") {
			rows = append(rows, namedImage{i, name})
		}
	}
	return rows
}

func imageListing(a *app) *listing[namedImage] {
	type row = namedImage
	name := func(r row) string { return r.name }
	distribution := func(r row) string { return r.Origin.Distribution }
	version := func(r row) string { return r.Origin.Version }
	arch := func(r row) string { return r.Origin.Architecture }
	return &listing[row]{
		names: func(r row) []string { return []string{cmp.Or(r.name, r.Digest)} },
		view:  func(r row) any { return r.Image },
		same:  func(r row) string { return r.Digest },
		columns: []column[row]{
			{name: "name", text: name, match: like(name)},
			{name: "distribution", text: distribution, match: like(distribution)},
			{name: "version", text: version, match: like(version)},
			{name: "arch", text: arch, match: like(arch)},
			{name: "size", text: func(r row) string { return roundSize(r.Size) }, rank: func(r row) int64 { return r.Size }},
			{name: "age", text: func(r row) string { return age(a.now().Sub(r.Created)) }, rank: func(r row) int64 { return -r.Created.UnixNano() }},
			{name: "digest", text: func(r row) string { return short(r.Digest) }, match: func(r row, w wanted) bool { return w.is(r.Digest) || w.is(short(r.Digest)) }},
		},
	}
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
