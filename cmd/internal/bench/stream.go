package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"strconv"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	streamRounds = 3
	streamBytes  = 1 << 30
	streamPort   = 5000
	streamName   = "stream"
)

// stream measures 1 GiB out of a guest through `arcbox exec`, against the same
// bytes on a vsock connection that nothing of ours in the guest touches.
func (b *bench) stream(ctx context.Context) error {
	e, err := b.newEngine("stream")
	if err != nil {
		return err
	}
	defer e.end()
	if err := e.pouring(ctx); err != nil {
		return err
	}
	var ours, raw []time.Duration
	for i := range streamRounds {
		r, err := e.rawStream(ctx)
		if err != nil {
			return err
		}
		o, err := e.execStream(ctx)
		if err != nil {
			return err
		}
		log.Printf("stream %d: exec %s, raw %s", i+1, throughput(o), throughput(r))
		ours, raw = append(ours, o), append(raw, r)
	}
	ratio := paired(raw, ours) // of speeds
	b.out.add(row{
		what: "1 GiB through `arcbox exec` stdout, against a raw vsock stream", aim: "≥ 0.6 ×",
		ours: throughput(median(ours)), rival: "raw: " + throughput(median(raw)), ratio: times(ratio), runs: len(ours), hit: judge(ratio >= 0.6),
	})
	return nil
}

func throughput(d time.Duration) string { return speed(streamBytes / d.Seconds()) }

// pouring starts a machine with the program that writes.
func (e *engine) pouring(ctx context.Context) error {
	pour, err := e.b.buildPour(ctx)
	if err != nil {
		return err
	}
	if _, _, err := e.start(ctx); err != nil {
		return err
	}
	m := machine(streamName, "qemu")
	m.Spec.Cpus = 2
	if _, err := e.do(ctx, m); err != nil {
		return err
	}
	if _, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: streamName}); err != nil {
		return err
	}
	if out, err := e.cli(ctx, "cp", pour, streamName+":/pour").CombinedOutput(); err != nil {
		return fmt.Errorf("arcbox cp: %w: %s", err, out)
	}
	return e.listening(ctx, streamName, "-port", strconv.Itoa(streamPort))
}

// listening starts a listener in a guest, which ends with its machine.
func (e *engine) listening(ctx context.Context, name string, how ...string) error {
	cmd := e.cli(ctx, append([]string{"exec", "-n", name, "--", "/pour"}, how...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("listener in the guest: %w", err)
	}
	_, err = io.ReadFull(out, make([]byte, len("listening\n")))
	go cmd.Wait() //nolint:errcheck // it ends as its machine does
	if err != nil {
		return fmt.Errorf("listener in the guest: %w", err)
	}
	return nil
}

// rawStream reads from the guest's own listener.
func (e *engine) rawStream(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticket, err := client.Call[*wire.Ticket](ctx, e.Client, &wire.OpenGuest{Request: request(), Name: streamName, Port: streamPort})
	if err != nil {
		return 0, err
	}
	c, err := e.OpenTicket(ctx, ticket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	begun := time.Now()
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, streamBytes)); err != nil {
		return 0, fmt.Errorf("raw stream: %w", err)
	}
	if err := drain(c); err != nil {
		return 0, fmt.Errorf("raw stream: %w", err)
	}
	return time.Since(begun), nil
}

// execStream reads what a new arcbox process prints.
func (e *engine) execStream(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := e.cli(ctx, "exec", "-n", streamName, "--", "/pour", strconv.Itoa(streamBytes))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("exec stream: %w", err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("exec stream: %w", err)
	}
	err = drain(out)
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return 0, fmt.Errorf("exec stream: %w", err)
	}
	return time.Since(begun), nil
}

// drain reads to the end, which has to come after all the bytes.
func drain(r io.Reader) error {
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, r, make([]byte, 256<<10))
	if err == nil && n != streamBytes {
		err = fmt.Errorf("%d bytes, not %d", n, streamBytes)
	}
	return err
}

// onlyWriter keeps io.Copy to the buffer that it was given.
type onlyWriter struct{ io.Writer }
