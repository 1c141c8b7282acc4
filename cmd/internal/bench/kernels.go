package main

import (
	"context"
	"fmt"
	"log"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/image"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
)

const (
	kernelRounds = 9
	kernelDisk   = 1 << 30
)

// built is a machine with an image, of one kernel and as one board.
type built struct {
	name, kernel, board string
	took                []time.Duration
}

// kernels measures the start of a machine with an image, with the distribution's
// kernel and ours, as a q35 and as a microvm, against the naive line.
func (b *bench) kernels(ctx context.Context) error {
	e, err := b.newEngine("kernels")
	if err != nil {
		return err
	}
	defer e.end()
	digest, err := e.smallDebian(ctx)
	if err != nil {
		return err
	}
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	names, err := e.kernelNames(ctx)
	if err != nil {
		return err
	}
	var all []*built
	var first *timeline
	for _, k := range names {
		for _, board := range kernel.Boards {
			m := machine(k+"-"+board, "qemu")
			m.Spec.Kernel, m.Spec.Board, m.Spec.Image, m.Spec.Disk = k, board, digest, kernelDisk
			if _, err := e.do(ctx, m); err != nil {
				return err
			}
			t, err := e.bootOnce(ctx, m.Name) // it makes assets and fills the page cache
			if err != nil {
				return err
			}
			if first == nil {
				first = t
			}
			all = append(all, &built{name: m.Name, kernel: k, board: board})
		}
	}
	l, err := e.lines(first.machine)
	if err != nil {
		return err
	}
	return b.rounds(ctx, e, all, l.naive)
}

// rounds has one boot of each in turn, so that all meet the same host.
func (b *bench) rounds(ctx context.Context, e *engine, all []*built, naive line) error {
	var rival []time.Duration
	for i := range kernelRounds {
		if naive.argv != nil {
			took, err := naive.first(ctx)
			if err != nil {
				return err
			}
			rival = append(rival, took)
		}
		for _, m := range all {
			t, err := e.bootOnce(ctx, m.name)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			m.took = append(m.took, t.total())
			log.Printf("kernels %d: %s %s", i+1, m.name, ms(t.total()))
		}
	}
	for _, m := range all {
		b.out.add(m.row(rival))
	}
	return nil
}

func (m *built) row(rival []time.Duration) row {
	whose, aim, most := "the distribution's kernel", "≤ 1.4 ×", 1.4
	if m.kernel != kernel.Default {
		whose, aim, most = "the kernel of `./task kernel`", "≤ 0.55 ×", 0.55
	}
	r := row{what: "start → agent answers, machine with an image, " + whose + ", " + m.board, aim: aim, ours: ms(median(m.took)), runs: len(m.took)}
	if len(rival) == 0 {
		r.remark = "the kernel package's vmlinuz is not in the cache"
		return r
	}
	x := paired(m.took, rival)
	r.rival, r.ratio, r.hit = "naive line: "+ms(median(rival)), times(x), judge(x <= most)
	return r
}

// kernelNames are the distribution's and, where ./task kernel built one, ours.
func (e *engine) kernelNames(ctx context.Context) ([]string, error) {
	bundle, err := ownBundle()
	if err != nil || bundle == "" {
		return []string{kernel.Default}, err
	}
	_, err = kernel.Open(e.home.Kernels()).Import(ctx, bundle, "own")
	return []string{kernel.Default, "own"}, err
}

// smallDebian makes an image of the root of the scenarios, and names it.
func (e *engine) smallDebian(ctx context.Context) (string, error) {
	archive := filepath.Join(e.home.Root, "root.tar")
	if err := plainRoot(ctx, archive); err != nil {
		return "", err
	}
	if _, err := process(e.b.importing(ctx, e.home.Root, archive)); err != nil {
		return "", err
	}
	s, err := image.Open(e.home.Images())
	if err != nil {
		return "", err
	}
	list, err := s.List()
	if err != nil || len(list) == 0 {
		return "", fmt.Errorf("the image that was made is not there: %w", err)
	}
	return list[0].Digest, nil
}
