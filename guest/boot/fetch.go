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

// Fetch downloads the kernel that the host's distribution has for virtual
// machines and unpacks it below dir; nothing is installed and root is not
// needed, also where the installed kernel image is readable by root only
// (Ubuntu): the unpacked one belongs to whoever unpacked it. It returns the
// unpacked tree. What is there already is not fetched again. apt's package
// lists must be there (apt-get update).
func Fetch(ctx context.Context, dir string, log *slog.Logger) (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("kernel packages: which distribution is this: %w", err)
	}
	f := fetcher{dir: dir, arch: runtime.GOARCH, run: runCommand, log: log}
	return f.fetch(ctx, string(text))
}

// FetchBusybox does the same for a static busybox and returns its path.
// Installing that package is no way: it excludes the package busybox, which
// most hosts have for their own initramfs.
func FetchBusybox(ctx context.Context, dir string, log *slog.Logger) (string, error) {
	f := fetcher{dir: dir, arch: runtime.GOARCH, run: runCommand, log: log}
	return f.busybox(ctx)
}

// fetcher is Fetch with its surroundings as parameters.
type fetcher struct {
	dir  string
	arch string
	run  func(ctx context.Context, dir, name string, args ...string) ([]byte, error)
	log  *slog.Logger
}

func (f *fetcher) fetch(ctx context.Context, osRelease string) (string, error) {
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
	return f.tree(ctx, real, packages, named(source.Extra, release))
}

func (f *fetcher) busybox(ctx context.Context) (string, error) {
	const pkg = "busybox-static"
	stanza, err := f.show(ctx, pkg)
	if err != nil {
		return "", err
	}
	tree, err := f.tree(ctx, stanza, []string{pkg}, nil)
	if err != nil {
		return "", err
	}
	return findBusybox(filepath.Join(tree, "bin"), filepath.Join(tree, "usr", "bin"))
}

// tree is where packages are unpacked, named after the first of them, whose
// control stanza is given.
func (f *fetcher) tree(ctx context.Context, stanza map[string]string, packages, extra []string) (string, error) {
	tree := filepath.Join(f.dir, strings.ReplaceAll(packages[0]+"_"+stanza["Version"], ":", "%3a"))
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	return tree, f.unpack(ctx, tree, packages, extra)
}

// show reads the control stanza of the version that apt would install.
func (f *fetcher) show(ctx context.Context, pkg string) (map[string]string, error) {
	out, err := f.run(ctx, "", "apt-cache", "show", "--no-all-versions", pkg)
	fields := parseFields(string(out), ":")
	if err == nil && fields["Package"] != pkg {
		err = errors.New("no such package in apt's lists")
	}
	if err != nil {
		return nil, fmt.Errorf("package %s: %w; try: sudo apt-get update", pkg, err)
	}
	return fields, nil
}

// unpack downloads and unpacks into a directory that gets its name when whole.
func (f *fetcher) unpack(ctx context.Context, tree string, packages, extra []string) error {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	stage, err := newStage(f.dir)
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
	args := []string{"download", "-q"}
	if os.Geteuid() == 0 {
		// Else apt complains that its own user can't write here.
		args = append(args, "-o", "APT::Sandbox::User=root")
	}
	if _, err := f.run(ctx, stage, "apt-get", append(args, packages...)...); err != nil {
		return fmt.Errorf("packages %s: %w; try: sudo apt-get update", strings.Join(packages, " "), err)
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
