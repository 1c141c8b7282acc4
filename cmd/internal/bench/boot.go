package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
)

const (
	bootRounds = 9
	bootMemory = 512 << 20
	bootName   = "boot"
	ownName    = "boot-own"
)

// command is a message that changes something.
type command interface {
	proto.Message
	GetRequest() *wire.Request
}

// boot measures a start against QEMU alone, and where its time goes.
func (b *bench) boot(ctx context.Context) error {
	e, err := b.newEngine("boot")
	if err != nil {
		return err
	}
	defer e.end()
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	if _, err := e.do(ctx, machine(bootName, "qemu")); err != nil {
		return err
	}
	own, err := e.ownKernel(ctx)
	if err != nil {
		return err
	}
	// The first start looks for KVM and fills the page cache.
	first, err := e.bootOnce(ctx, bootName)
	if err != nil {
		return err
	}
	lines, err := e.lines(first.machine)
	if err != nil {
		return err
	}
	var ours, line, naive, built []time.Duration
	var stages [][]stage
	for i := range bootRounds {
		t, err := e.bootOnce(ctx, bootName)
		if err != nil {
			return err
		}
		o, err := lines.own.first(ctx)
		if err != nil {
			return err
		}
		n := time.Duration(0)
		if lines.naive.argv != nil {
			if n, err = lines.naive.first(ctx); err != nil {
				return err
			}
			naive = append(naive, n)
		}
		log.Printf("boot %d: %s, own line %s, naive line %s", i+1, ms(t.total()), ms(o), ms(n))
		ours, line, stages = append(ours, t.total()), append(line, o), append(stages, t.stages())
		if own {
			t, err := e.bootOnce(ctx, ownName)
			if err != nil {
				return err
			}
			built = append(built, t.total())
		}
	}
	b.bootRows(ours, line, naive)
	b.ownRow(built, naive)
	b.out.stages, b.out.boots = mergeStages(stages), bootRounds
	return nil
}

// ownKernel makes a machine with the kernel of ./task kernel, and boots it once.
// Where none was built there is none.
func (e *engine) ownKernel(ctx context.Context) (bool, error) {
	bundle, err := ownBundle()
	if err != nil || bundle == "" {
		return false, err
	}
	if _, err := kernel.Open(e.home.Kernels()).Import(ctx, bundle, "own"); err != nil {
		return false, err
	}
	m := machine(ownName, "qemu")
	m.Spec.Kernel = "own"
	if _, err := e.do(ctx, m); err != nil {
		return false, err
	}
	_, err = e.bootOnce(ctx, ownName) // it makes the boot assets
	return err == nil, err
}

// ownBundle is the kernel that ./task kernel made last; "" = none.
func ownBundle() (newest string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "arcbox", "kernel-bundles", runtime.GOARCH+"-*"))
	var made time.Time
	for _, f := range found {
		if info, err := os.Stat(filepath.Join(f, "manifest.json")); err == nil && info.ModTime().After(made) {
			newest, made = f, info.ModTime()
		}
	}
	return newest, err
}

// ownRow holds a start with the kernel of ./task kernel against the naive line.
func (b *bench) ownRow(built, naive []time.Duration) {
	r := row{what: "start → agent answers with the kernel of `./task kernel`, against the naive line", aim: "≤ 0.55 ×", runs: len(built)}
	switch {
	case len(built) == 0:
		r.remark = "not measured: that kernel is not in the cache"
	case len(naive) == 0:
		r.ours, r.remark = ms(median(built)), "the kernel package's vmlinuz is not in the cache"
	default:
		ratio := paired(built, naive)
		r.ours, r.rival, r.ratio, r.hit = ms(median(built)), "naive line: "+ms(median(naive)), times(ratio), judge(ratio <= 0.55)
	}
	b.out.add(r)
}

func (b *bench) bootRows(ours, own, naive []time.Duration) {
	r := paired(ours, own)
	b.out.add(row{
		what: "start → agent answers, against the engine's own QEMU line to its first user-space line", aim: "≤ 1.15 ×",
		ours: ms(median(ours)), rival: "own line: " + ms(median(own)), ratio: times(r), runs: len(ours), hit: judge(r <= 1.15),
	})
	n := row{what: "the same, against the naive line `-M q35 -kernel vmlinuz`", aim: "≤ 1.4 ×", ours: ms(median(ours)), runs: len(naive)}
	if len(naive) > 0 {
		r := paired(ours, naive)
		n.rival, n.ratio, n.hit = "naive line: "+ms(median(naive)), times(r), judge(r <= 1.4)
	} else {
		n.remark = "not measured: the kernel package's vmlinuz is not in the cache"
	}
	b.out.add(n)
}

// firstLine is what the agent prints first.
var firstUserLine = []byte("arcbox-agent ")

// bootOnce starts the machine, and kills it when all is known of its boot.
func (e *engine) bootOnce(ctx context.Context, name string) (*timeline, error) {
	dir, err := e.machineDir(ctx, name)
	if err != nil {
		return nil, err
	}
	console := watchConsole(filepath.Join(dir, "console.log"))
	t := &timeline{asked: time.Now()}
	done, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: name})
	t.answered = time.Now()
	t.userLine = console()
	if err != nil {
		return nil, err
	}
	t.machine = done.GetMachine()
	if err := t.learn(ctx, e, dir); err != nil {
		return nil, err
	}
	_, err = e.do(ctx, &wire.StopMachine{Request: request(), Name: name, Kill: true})
	return t, err
}

func (e *engine) machineDir(ctx context.Context, name string) (string, error) {
	m, err := client.Call[*wire.Machine](ctx, e.Client, &wire.InspectMachine{Name: name})
	return m.GetDir(), err
}

// watchConsole notes when the agent's first line comes. The function that it
// returns ends the watch, and tells; the zero time = it did not come.
func watchConsole(path string) func() time.Time {
	var size int64
	if fi, err := os.Stat(path); err == nil {
		size = fi.Size()
	}
	stop, seen := make(chan struct{}), make(chan time.Time, 1)
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		buf := make([]byte, 64<<10)
		for {
			select {
			case <-stop:
				seen <- time.Time{}
				return
			case now := <-tick.C:
				f, err := os.Open(path)
				if err != nil {
					continue
				}
				n, _ := f.ReadAt(buf, size) // what is there so far
				_ = f.Close()
				if bytes.Contains(buf[:n], firstUserLine) {
					seen <- now
					return
				}
			}
		}
	}()
	return func() time.Time {
		select {
		case t := <-seen:
			return t
		case <-time.After(time.Second):
			close(stop)
			return <-seen
		}
	}
}

// lastLine is the last line of a file that has some text in it.
func lastLine(path, text string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	i := bytes.LastIndex(b, []byte(text))
	if i < 0 {
		return "", fmt.Errorf("%s: no line with %q", path, text)
	}
	i = bytes.LastIndexByte(b[:i], '\n') + 1
	line, _, _ := bytes.Cut(b[i:], []byte("\n"))
	return string(line), nil
}
