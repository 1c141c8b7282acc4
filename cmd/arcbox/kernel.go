package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
)

func newKernel(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "kernel",
		Short: "Import, choose and try the kernels of machines",
		Long: "Machines boot the kernel of the distribution's packages, which is called \"" + kernel.Default + "\",\n" +
			"or one of a bundle: a directory or a tar with a kernel image, the modules that it\n" +
			"has, and a manifest with their digests. ./task kernel makes one that has all built\n" +
			"in that machines need, and boots in half the time.\n\n" +
			"A machine that runs keeps its kernel; its next start takes the current one.",
		Example: "  arcbox kernel import ~/.cache/arcbox/kernel-bundles/arcbox-amd64-…\n  arcbox kernel use 6.1.0-arcbox\n  arcbox create web --kernel 6.1.0-arcbox",
	})
	cmd.AddCommand(newKernelImport(a), newKernelList(a), newKernelUse(a), newKernelRemove(a), newKernelProbe(a), newKernelPack(a))
	return cmd
}

// kernels is the store.
func (a *app) kernels() (*kernel.Store, error) {
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	return kernel.Open(h.Kernels()), nil
}

// kernelVerb makes a run function of f, whose errors become ours.
func (a *app) kernelVerb(f func(ctx context.Context, s *kernel.Store, args []string) error) func(*cobra.Command, []string) error {
	return a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if far, err := a.there(ctx, cmd, args, nil); far {
			return err
		}
		s, err := a.kernels()
		if err != nil {
			return err
		}
		return kernelFailure(f(ctx, s, args))
	})
}

// kernelFailure gives the errors of the store their codes.
func kernelFailure(err error) error {
	f := &failure{code: exitGeneral, kind: "failed", cause: err}
	used, inUse := errors.AsType[*kernel.InUseError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kernel.ErrNotFound):
		f.code, f.kind, f.hint = exitNotFound, "not-found", "arcbox kernel ls"
	case errors.Is(err, fs.ErrNotExist):
		f.code, f.kind = exitNotFound, "not-found"
	case errors.Is(err, kernel.ErrName):
		f.code, f.kind, f.field, f.hint = exitUsage, "usage", "name", "arcbox kernel ls"
	case errors.Is(err, kernel.ErrNoBundle):
		f.code, f.kind, f.hint = exitUsage, "usage", "arcbox help kernel pack"
	case errors.Is(err, kernel.ErrExists):
		f.code, f.kind, f.hint = exitConflict, "conflict", "arcbox kernel ls"
	case inUse:
		f.code, f.kind, f.hint = exitConflict, "conflict", "arcbox kernel use "+kernel.Default
		if len(used.Users) > 0 {
			f.hint = "arcbox rm " + used.Users[0]
		}
	case errors.Is(err, kernel.ErrDamaged):
		f.code, f.kind = exitUnsafe, "unsafe"
	case errors.Is(err, syscall.ENOSPC):
		f.hint = "df -h"
	default:
		return err
	}
	f.message = err.Error()
	return f
}

// kernelArgs wants one argument.
func kernelArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < 1:
			return badInput("", "%s: %s is missing", cmd.CommandPath(), what)
		case len(args) > 1:
			return badInput("", "%s: %d arguments, at most 1", cmd.CommandPath(), len(args))
		}
		return nil
	}
}

// completeKernels offers the names of kernels.
func (a *app) completeKernels(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, err := a.kernels()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []string{kernel.Default + "\tthe distribution's"}
	list, _ := s.List() // what can't be read can't be offered
	for _, b := range list {
		names = append(names, b.Name+"\t"+b.Release)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeKernelFlag offers kernels, and files.
func (a *app) completeKernelFlag(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	names, _ := a.completeKernels(cmd, nil, part)
	return names, cobra.ShellCompDirectiveDefault
}

// kernelOf is what --kernel says: a path is a file's, and a bare word is a
// kernel's name where there is one of that name.
func (s *specFlags) kernelOf(cmd *cobra.Command, far bool) (string, error) {
	if s.kernel == "" || strings.ContainsRune(s.kernel, os.PathSeparator) || s.kernels == nil {
		return bootFile("kernel", s.kernel, far)
	}
	store, err := s.kernels()
	if err != nil {
		return "", err
	}
	b, missing := store.Find(s.kernel)
	if arch := cmp.Or(s.arch, runtime.GOARCH); missing == nil && !far && b.Arch != arch {
		f := badInput("kernel", "--kernel %s: it is for %s, the machine is %s", s.kernel, b.Arch, arch)
		f.hint = cmd.CommandPath() + " --arch " + b.Arch + " --kernel " + s.kernel
		return "", f
	}
	if missing == nil || s.kernel == kernel.Default {
		return s.kernel, nil
	}
	path, err := bootFile("kernel", s.kernel, far)
	if err != nil {
		f := badInput("kernel", "--kernel %s: %v, and no file of that name can be read", shorten(s.kernel, 80), missing)
		f.hint = "arcbox kernel ls\n" + helpHint(cmd)
		return "", f
	}
	return path, nil
}

func newKernelImport(a *app) *cobra.Command {
	var name string
	var use bool
	cmd := &cobra.Command{
		Use:   "import DIR|TAR",
		Short: "Bring a kernel bundle in, and print its name",
		Long: "Copy a kernel bundle, a directory or a tar (plain, gzip, xz or zstd), into the\n" +
			"store, and print the name that it has there. Each of its files is checked against\n" +
			"the manifest; one that was killed half-way leaves nothing that counts.",
		Example: "  arcbox kernel import ./bundle --name ours --use",
		Args:    kernelArgs("the path of a bundle"),
	}
	cmd.Flags().StringVar(&name, "name", "", "name to give it (default: its release)")
	cmd.Flags().BoolVar(&use, "use", false, "also make it the kernel of machines that name none")
	here := a.kernelVerb(func(ctx context.Context, s *kernel.Store, args []string) error {
		b, err := s.Import(ctx, args[0], name)
		if err == nil && use {
			err = s.Use(ctx, b.Name)
		}
		if err != nil {
			return err
		}
		if b.Arch != runtime.GOARCH {
			a.note("%s is for %s, this host is %s", b.Name, b.Arch, runtime.GOARCH)
		}
		if a.json() {
			return a.printJSON(kernelView(b))
		}
		_, err = fmt.Fprintln(a.stdout, b.Name)
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if p, err := a.choice(); err == nil && p.remote != nil {
			a.ran = true
			return p.notHere("bundle", args[0], p.onHost("kernel import DIR, once it is there"))
		}
		return here(cmd, args)
	}
	return cmd
}

// kernelJSON is a kernel without the list of its files.
type kernelJSON struct {
	Name    string         `json:"name"`
	Used    bool           `json:"used"`
	Release string         `json:"release"`
	Arch    string         `json:"arch"`
	Source  string         `json:"source,omitempty"`
	Config  string         `json:"config,omitempty"`
	Digest  string         `json:"digest,omitempty"`
	Modules string         `json:"modules,omitempty"`
	Size    int64          `json:"size"`
	Made    *time.Time     `json:"made,omitempty"`
	Board   string         `json:"board"` // of machines that leave it to their kernel
	Boots   []kernel.Boots `json:"boots"`
}

func kernelView(b kernel.Bundle) kernelJSON {
	board, _ := kernel.Choose(b.Boots)
	return kernelJSON{
		b.Name, b.Used, b.Release, b.Arch, b.Source, b.Config, b.Digest, b.Modules, b.Size(), &b.Made, board, append([]kernel.Boots{}, b.Boots...),
	}
}

// defaultKernel is the distribution's, where assets of it are prepared.
func (a *app) defaultKernel(s *kernel.Store) (kernelJSON, error) {
	h, err := a.home()
	if err != nil {
		return kernelJSON{}, err
	}
	assets, err := boot.Find(runtime.GOARCH, h.BootDirs()...)
	if err != nil {
		return kernelJSON{}, err
	}
	boots := append([]kernel.Boots{}, s.DefaultBoots(assets.Release)...)
	board, _ := kernel.Choose(boots)
	return kernelJSON{
		Name: kernel.Default, Used: s.Used() == kernel.Default, Release: assets.Release, Arch: runtime.GOARCH,
		Source: "the distribution's packages", Size: assets.KernelBytes, Board: board, Boots: boots,
	}, nil
}

func newKernelList(a *app) *cobra.Command {
	l := kernelListing()
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List kernels",
		Long: "List the kernels that machines may have. MACHINE is what a machine is built as that\n" +
			"leaves it to its kernel; BOOTS how many of how many boots came up, on either, and\n" +
			"how long half of them took at most. * marks the kernel of machines that name none.",
		Args: noArgs,
	}
	listFlags(a, cmd, l)
	cmd.RunE = a.kernelVerb(func(_ context.Context, s *kernel.Store, _ []string) error {
		all := []kernelJSON{}
		if own, err := a.defaultKernel(s); err == nil {
			all = append(all, own)
		} else if !errors.Is(err, boot.ErrNotPrepared) {
			return err
		}
		list, err := s.List()
		for _, b := range list {
			all = append(all, kernelView(b))
		}
		if printErr := l.print(a, all, "no kernels yet; ./task assets prepares the distribution's"); printErr != nil {
			return printErr
		}
		return err
	})
	return cmd
}

func kernelListing() *listing[kernelJSON] {
	type row = kernelJSON
	name := func(k row) string { return k.Name }
	release := func(k row) string { return k.Release }
	arch := func(k row) string { return k.Arch }
	board := func(k row) string { return k.Board }
	return &listing[row]{
		names: func(k row) []string { return []string{k.Name} },
		view:  func(k row) any { return k },
		columns: []column[row]{
			{name: "used", bare: true, text: func(k row) string { return ifSet(k.Used, "*") }},
			{name: "name", text: name, match: like(name)},
			{name: "release", text: release, match: like(release)},
			{name: "arch", text: arch, match: like(arch)},
			{name: "size", text: func(k row) string { return roundSize(k.Size) }, rank: func(k row) int64 { return k.Size }},
			{name: "machine", text: board, match: like(board)},
			{name: "boots", text: func(k row) string { return bootsText(k.Boots) }, bends: true},
		},
	}
}

// bootsText is what boots showed, in a few words.
func bootsText(all []kernel.Boots) string {
	var texts []string
	for _, b := range all {
		texts = append(texts, fmt.Sprintf("%s (%s): %d/%d, %d ms", b.Board, b.Accel, b.Count-b.Hung, b.Count, b.Median))
	}
	return strings.Join(texts, "; ")
}

func newKernelUse(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "use NAME",
		Short: "Make a kernel that of machines that name none",
		Long: "Make a kernel that of machines that name none, from their next start on; \"" + kernel.Default + "\"\n" +
			"is the one of the distribution.",
		Example:           "  arcbox kernel use 6.1.0-arcbox\n  arcbox kernel use " + kernel.Default,
		Args:              kernelArgs("the name of a kernel"),
		ValidArgsFunction: a.completeKernels,
		RunE: a.kernelVerb(func(ctx context.Context, s *kernel.Store, args []string) error {
			return s.Use(ctx, args[0])
		}),
	}
}

func newKernelRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Remove a kernel",
		Long: "Remove a kernel that no machine names and that is not the one of machines that name\n" +
			"none. The machines are asked of the engine.",
		Args:              kernelArgs("the name of a kernel"),
		ValidArgsFunction: a.completeKernels,
		RunE: a.kernelVerb(func(ctx context.Context, s *kernel.Store, args []string) error {
			return s.Remove(ctx, args[0], func(name string) ([]string, error) {
				return a.machinesWith(ctx, func(s *wire.Spec) bool { return s.GetKernel() == name })
			})
		}),
	}
}

func newKernelPack(a *app) *cobra.Command {
	var arch, source string
	cmd := &cobra.Command{
		Use:   "pack DIR",
		Short: "Make a bundle of a directory with a kernel in it",
		Long: "Make a kernel bundle of a directory, by writing its manifest. The directory holds\n\n" +
			"  boot/vmlinuz-RELEASE\n  boot/config-RELEASE       what it was configured to, if anything\n" +
			"  lib/modules/RELEASE/      its modules; modules.builtin at the least",
		Args: kernelArgs("a directory"),
	}
	cmd.Flags().StringVar(&arch, "arch", runtime.GOARCH, "its architecture: amd64 or arm64")
	cmd.Flags().StringVar(&source, "source", "", "what it was built of")
	a.complete(cmd, "arch", "amd64", "arm64")
	cmd.RunE = a.verb(func(_ context.Context, _ *cobra.Command, args []string) error {
		m, err := kernel.Pack(args[0], arch, source, a.now())
		if err != nil {
			return kernelFailure(err)
		}
		_, err = fmt.Fprintln(a.stdout, m.Digest)
		return err
	})
	return cmd
}
