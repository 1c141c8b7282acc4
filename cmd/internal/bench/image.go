package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
)

const importRounds = 7

// images measures what it takes to make an image of a tar, in a process of its
// own, against mkfs.erofs with a directory of the same files.
func (b *bench) images(ctx context.Context) error {
	dir := filepath.Join(b.tmp, "image")
	root, archive := filepath.Join(dir, "root"), filepath.Join(dir, "root.tar")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if err := unpackRoot(ctx, archive, root); err != nil {
		return err
	}
	r := row{what: "tar to EROFS: `arcbox image import` of a small Debian, its digests and syncing included", aim: "≤ 1.5 ×"}
	var ours, rival []time.Duration
	for i := range importRounds {
		took, err := process(b.importing(ctx, filepath.Join(dir, fmt.Sprint("home", i)), archive))
		if err != nil {
			return err
		}
		ours = append(ours, took)
		made := filepath.Join(dir, "made.erofs")
		if took, err = process(exec.CommandContext(ctx, "mkfs.erofs", "--quiet", made, root)); err != nil {
			return fmt.Errorf("mkfs.erofs (.ci/install e2e): %w", err)
		}
		rival = append(rival, took)
		if err := errors.Join(os.Remove(made), os.RemoveAll(filepath.Join(dir, fmt.Sprint("home", i)))); err != nil {
			return err
		}
	}
	x := paired(ours, rival)
	r.ours, r.rival = ms(median(ours)), "`mkfs.erofs` without compression, from a directory: "+ms(median(rival))
	r.ratio, r.runs, r.hit = times(x), len(ours), judge(x <= 1.5)
	b.out.add(r)
	return nil
}

func (b *bench) importing(ctx context.Context, root, archive string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "arcbox"), "image", "import", archive, "-q")
	cmd.Env = append(os.Environ(), home.Var+"="+root)
	return cmd
}

// unpackRoot takes the root file system that .ci/roots made: as a plain tar, and
// as files; devices need root, and are not what takes time.
func unpackRoot(ctx context.Context, archive, root string) error {
	if err := plainRoot(ctx, archive); err != nil {
		return err
	}
	return shell(ctx, `tar -C "$2" --exclude='./dev/*' -xf "$1"`, archive, root)
}

// plainRoot unpacks that root to a plain tar.
func plainRoot(ctx context.Context, archive string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(cache, "arcbox", "roots", "*", "systemd.tar.xz"))
	if err != nil || len(found) == 0 {
		return errors.Join(errors.New("no root file system: .ci/roots makes one"), err)
	}
	return shell(ctx, `xz -dc "$1" >"$2"`, found[0], archive)
}

func shell(ctx context.Context, script string, args ...string) error {
	out, err := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "sh"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}
