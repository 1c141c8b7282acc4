package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	shareRounds = 3
	shareBytes  = 128 << 20
	shareFiles  = 10_000
	shareFile   = 1 << 10 // bytes of each of them
	shareName   = "share"
)

// carrying is one task, done in three ways: through a shared folder, by arcbox cp,
// and by scp. before clears what the last turn left.
type carrying struct {
	what                   string
	before                 string // in the guest
	shared                 string // in the guest
	copied                 func() (from, to string)
	bytes                  float64 // 0: what counts is the time
	tookShare, tookCp, scp []time.Duration
}

// shares measures files by virtiofs, against `arcbox cp` and scp, which both carry
// them into the guest or out of it.
func (b *bench) shares(ctx context.Context) error {
	dir := filepath.Join(b.tmp, "shared")
	if err := fillShare(dir); err != nil {
		return err
	}
	e, err := b.newEngine("share")
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	m := machine(shareName, "qemu")
	m.Spec.Cpus, m.Spec.Memory = 2, 1<<30
	m.Spec.Shares = []*wire.Share{{Host: dir, Guest: "/share", Writable: true}}
	if _, err := e.do(ctx, m); err != nil {
		return err
	}
	if _, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: shareName}); err != nil {
		return err
	}
	config, err := e.sshConfig(ctx)
	if err != nil {
		return err
	}
	tasks := carryings(dir, filepath.Join(b.tmp, "back"))
	for i := range shareRounds {
		for _, t := range tasks {
			if i > 0 && t.bytes == 0 {
				continue // scp takes minutes with many files: once has to do
			}
			if err := e.carryOnce(ctx, t, config); err != nil {
				return err
			}
			log.Printf("share %d: %s: share %s, arcbox cp %s, scp %s", i+1, t.what, ms(t.tookShare[i]), ms(t.tookCp[i]), ms(t.scp[i]))
		}
	}
	for _, t := range tasks {
		b.out.add(t.row())
	}
	return nil
}

func carryings(dir, back string) []*carrying {
	const drop = "echo 3 >/proc/sys/vm/drop_caches; rm -rf /in; " // what the guest has of the host's files
	return []*carrying{
		{
			what: "read 128 MiB in a row in the guest", before: drop, bytes: shareBytes, shared: "cat /share/big >/dev/null",
			copied: func() (string, string) { return filepath.Join(dir, "big"), "/in" },
		},
		{
			what: "write 128 MiB in a row from the guest, synced", before: drop + "[ -e /big ] || cp /share/big /big; rm -f /share/out", bytes: shareBytes,
			shared: "dd if=/big of=/share/out bs=1M conv=fsync", copied: func() (string, string) { return "/big", back },
		},
		{
			what: "10,000 files of 1 KiB into the guest", before: drop, shared: "cp -r /share/many /in",
			copied: func() (string, string) { return filepath.Join(dir, "many"), "/in" },
		},
	}
}

// carryOnce does a task in each of the three ways, in turn.
func (e *engine) carryOnce(ctx context.Context, t *carrying, config string) error {
	from, to := t.copied()
	out := to[:3] != "/in" // out of the guest
	ends := func(host string) (string, string) {
		if out {
			return host + ":" + from, to
		}
		return from, host + ":" + to
	}
	cpFrom, cpTo := ends(shareName)
	scpFrom, scpTo := ends(shareName + ".arcbox")
	for _, way := range []struct {
		took *[]time.Duration
		cmd  *exec.Cmd
	}{
		{&t.tookShare, e.cli(ctx, "exec", "-n", shareName, "--", "sh", "-c", t.shared)},
		{&t.tookCp, e.cli(ctx, "cp", cpFrom, cpTo)},
		{&t.scp, exec.CommandContext(ctx, "scp", "-q", "-r", "-F", config, scpFrom, scpTo)},
	} {
		if out {
			if err := os.RemoveAll(to); err != nil {
				return err
			}
		}
		if _, err := process(e.cli(ctx, "exec", "-n", shareName, "--", "sh", "-c", t.before)); err != nil {
			return err
		}
		d, err := process(way.cmd)
		if err != nil {
			return err
		}
		*way.took = append(*way.took, d)
	}
	return nil
}

func (t *carrying) row() row {
	figure := func(d time.Duration) string {
		if t.bytes == 0 {
			return fmt.Sprintf("%.2f s", d.Seconds())
		}
		return speed(t.bytes / d.Seconds())
	}
	return row{
		what: "a shared folder (virtiofs): " + t.what, ours: figure(median(t.tookShare)),
		rival: fmt.Sprintf("scp: %s, `arcbox cp`: %s", figure(median(t.scp)), figure(median(t.tookCp))),
		ratio: times(paired(t.scp, t.tookShare)) + " as quick as scp", runs: len(t.scp),
	}
}

// fillShare makes the files that are shared.
func fillShare(dir string) error {
	many := filepath.Join(dir, "many")
	if err := os.MkdirAll(many, 0o755); err != nil {
		return err
	}
	big, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		return err
	}
	if _, err := io.CopyN(big, rand.Reader, shareBytes); err != nil {
		return err
	}
	if err := big.Close(); err != nil {
		return err
	}
	text := make([]byte, shareFile)
	for i := range shareFiles {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("%05d", i)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
