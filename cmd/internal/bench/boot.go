package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	bootRounds = 9
	bootMemory = 512 << 20
	bootName   = "boot"
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
	// The first start looks for KVM and fills the page cache.
	first, err := e.bootOnce(ctx)
	if err != nil {
		return err
	}
	lines, err := e.lines(first.machine)
	if err != nil {
		return err
	}
	var ours, own, naive []time.Duration
	var stages [][]stage
	for i := range bootRounds {
		t, err := e.bootOnce(ctx)
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
		ours, own, stages = append(ours, t.total()), append(own, o), append(stages, t.stages())
	}
	b.bootRows(ours, own, naive)
	b.out.stages, b.out.boots = mergeStages(stages), bootRounds
	return nil
}

func (b *bench) bootRows(ours, own, naive []time.Duration) {
	r := paired(ours, own)
	b.out.add(row{
		what: "start → agent answers, against the engine's own QEMU line to its first user-space line", aim: "≤ 1.15 ×",
		ours: ms(median(ours)), rival: "own line: " + ms(median(own)), ratio: times(r), runs: len(ours), hit: judge(r <= 1.15),
	})
	n := row{what: "the same, against the naive line `-M q35 -kernel vmlinuz`", ours: ms(median(ours)), runs: len(naive)}
	if len(naive) > 0 {
		n.rival, n.ratio = "naive line: "+ms(median(naive)), times(paired(ours, naive))
	} else {
		n.remark = "not measured: the kernel package's vmlinuz is not in the cache"
	}
	b.out.add(n)
}

// firstLine is what the agent prints first.
var firstUserLine = []byte("arcbox-agent ")

// bootOnce starts the machine, and kills it when all is known of its boot.
func (e *engine) bootOnce(ctx context.Context) (*timeline, error) {
	dir, err := e.machineDir(ctx)
	if err != nil {
		return nil, err
	}
	console := watchConsole(filepath.Join(dir, "console.log"))
	t := &timeline{asked: time.Now()}
	done, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: bootName})
	t.answered = time.Now()
	t.userLine = console()
	if err != nil {
		return nil, err
	}
	t.machine = done.GetMachine()
	if err := t.learn(ctx, e, dir); err != nil {
		return nil, err
	}
	_, err = e.do(ctx, &wire.StopMachine{Request: request(), Name: bootName, Kill: true})
	return t, err
}

func (e *engine) machineDir(ctx context.Context) (string, error) {
	m, err := client.Call[*wire.Machine](ctx, e.Client, &wire.InspectMachine{Name: bootName})
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
