package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// fetcher downloads packages of the host's distribution and unpacks them; nothing
// is installed and root is not needed, also where the installed kernel image is
// readable by root only (Ubuntu): the unpacked one belongs to whoever unpacked it.
// What is there already is not fetched again. apt's package lists must be there
// (apt-get update); for another architecture it keeps lists of its own, of the same
// sources and checked by the same keys.
type fetcher struct {
	dir  string // where kernels are unpacked
	arch string
	own  string // where lists of another architecture are; "" = apt's own are used
	run  func(ctx context.Context, dir, name string, args ...string) ([]byte, error)
	log  *slog.Logger

	updated bool
}

func newFetcher(arch string, log *slog.Logger) (_ *fetcher, err error) {
	f := &fetcher{arch: arch, run: runCommand, log: log}
	if f.dir, err = KernelDir(); err == nil && arch != runtime.GOARCH {
		f.own, err = userCache("apt-" + arch)
	}
	return f, err
}

// kernel fetches the kernel that the host's distribution has for virtual machines,
// and returns the unpacked tree.
func (f *fetcher) kernel(ctx context.Context) (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("kernel packages: which distribution is this: %w", err)
	}
	return f.kernelOf(ctx, string(text))
}

// apt is how a program of apt is told which architecture and lists are meant.
func (f *fetcher) apt(command string, args ...string) []string {
	var options []string
	if f.own != "" {
		options = []string{
			"APT::Architecture=" + f.arch, "APT::Architectures=" + f.arch,
			"Dir::State::lists=" + filepath.Join(f.own, "lists"), "Dir::Cache=" + filepath.Join(f.own, "cache"),
			"Dir::State::status=/dev/null", "Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		}
	}
	if os.Geteuid() == 0 {
		// Else apt complains that its own user can't write here.
		options = append(options, "APT::Sandbox::User=root")
	}
	words := []string{command}
	for _, o := range options {
		words = append(words, "-o", o)
	}
	return append(words, args...)
}

// update brings the fetcher's own lists up to date, once. Older ones are better
// than none.
func (f *fetcher) update(ctx context.Context) error {
	if f.own == "" || f.updated {
		return nil
	}
	f.updated = true
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(f.own, dir), 0o755); err != nil {
			return fmt.Errorf("package lists: %w", err)
		}
	}
	f.log.Info("downloading package lists", "architecture", f.arch)
	if _, err := f.run(ctx, "", "apt-get", f.apt("update", "-q")...); err != nil {
		f.log.Warn("package lists are as old as they are", "architecture", f.arch, "error", err)
	}
	return nil
}

// tryUpdate is what may help where a package is missing.
func (f *fetcher) tryUpdate() string {
	if f.own == "" {
		return "try: sudo apt-get update"
	}
	return "this host's package sources may have none for " + f.arch + ": unpack a kernel package by hand and name it with --kernel-tree, and a static busybox with --busybox"
}

func (f *fetcher) kernelOf(ctx context.Context, osRelease string) (string, error) {
	host := parseFields(osRelease, "=")
	source, err := KernelSourceFor(host["ID"], host["VERSION_ID"], f.arch)
	if err != nil {
		return "", err
	}
	meta, err := f.show(ctx, source.Meta)
	if err != nil {
		return "", err
	}
	image, release, err := source.Image(meta["Depends"])
	if err != nil {
		return "", err
	}
	real, err := f.show(ctx, image)
	if err != nil {
		return "", err
	}
	packages := append([]string{image}, named(source.With, release)...)
	return f.tree(ctx, f.dir, real, packages, named(source.Extra, release))
}

// busybox does the same for a static busybox and returns its path. Installing that
// package is no way: it excludes the package busybox, which most hosts have for
// their own initramfs.
func (f *fetcher) busybox(ctx context.Context, dir string) (string, error) {
	const pkg = "busybox-static"
	stanza, err := f.show(ctx, pkg)
	if err != nil {
		return "", err
	}
	tree, err := f.tree(ctx, dir, stanza, []string{pkg}, nil)
	if err != nil {
		return "", err
	}
	return findBusybox(f.arch, filepath.Join(tree, "bin"), filepath.Join(tree, "usr", "bin"))
}

// tree is where packages are unpacked, named after the first of them, whose
// control stanza is given, and after an architecture that is not the host's.
func (f *fetcher) tree(ctx context.Context, dir string, stanza map[string]string, packages, extra []string) (string, error) {
	name := strings.ReplaceAll(packages[0]+"_"+stanza["Version"], ":", "%3a")
	if f.own != "" {
		name += "_" + f.arch
	}
	tree := filepath.Join(dir, name)
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	return tree, f.unpack(ctx, dir, tree, packages, extra)
}

// show reads the control stanza of the version that apt would install.
func (f *fetcher) show(ctx context.Context, pkg string) (map[string]string, error) {
	if err := f.update(ctx); err != nil {
		return nil, err
	}
	out, err := f.run(ctx, "", "apt-cache", f.apt("show", "--no-all-versions", pkg)...)
	fields := parseFields(string(out), ":")
	if err == nil && fields["Package"] != pkg {
		err = errors.New("no such package in apt's lists")
	}
	if err != nil {
		return nil, fmt.Errorf("package %s: %w; %s", pkg, err, f.tryUpdate())
	}
	return fields, nil
}

// unpack downloads and unpacks into a directory that gets its name when whole.
func (f *fetcher) unpack(ctx context.Context, dir, tree string, packages, extra []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	stage, err := newStage(dir)
	if err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	defer os.RemoveAll(stage)
	staged := filepath.Join(stage, "tree")
	if err := f.download(ctx, stage, staged, packages); err != nil {
		return err
	}
	if len(extra) > 0 && !complete(staged) {
		if err := f.download(ctx, stage, staged, extra); err != nil {
			return err
		}
	}
	if err := os.Rename(staged, tree); err != nil {
		if _, there := os.Stat(tree); there != nil {
			return fmt.Errorf("packages: %w", err)
		} // else another process was quicker with the same
	}
	return nil
}

// complete says whether a tree has every module that guests can't do without.
func complete(tree string) bool {
	k, err := findKernel(tree)
	if err != nil {
		return false
	}
	modules, err := openModules(k.modules)
	if err != nil {
		return false
	}
	_, _, err = modules.order(wanted)
	return err == nil
}

func (f *fetcher) download(ctx context.Context, stage, tree string, packages []string) error {
	f.log.Info("downloading packages", "packages", packages)
	if _, err := f.run(ctx, stage, "apt-get", f.apt("download", append([]string{"-q"}, packages...)...)...); err != nil {
		return fmt.Errorf("packages %s: %w; %s", strings.Join(packages, " "), err, f.tryUpdate())
	}
	debs, err := filepath.Glob(filepath.Join(stage, "*.deb"))
	if err != nil || len(debs) == 0 {
		return fmt.Errorf("packages %s: apt-get download left no .deb file", strings.Join(packages, " "))
	}
	for _, deb := range debs {
		if _, err := f.run(ctx, stage, "dpkg-deb", "-x", deb, tree); err != nil {
			return fmt.Errorf("package %s: %w", filepath.Base(deb), err)
		}
		if err := os.Remove(deb); err != nil {
			return fmt.Errorf("packages: %w", err)
		}
	}
	return nil
}

// runCommand runs a program and returns its output. What it said on stderr is
// in the error. It ends with the context; the pipes of a child that lingers are
// given up soon after.
func runCommand(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if len(said) > 1000 {
			said = "…" + said[len(said)-1000:]
		}
		return nil, fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return out, nil
}
