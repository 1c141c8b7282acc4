package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	netRounds     = 5
	netBytes      = 256 << 20
	netPort       = 5000
	netName       = "net"
	peerName      = "peer"
	netCrowd      = 1000
	crowdPatience = 10 * time.Second // for one answer
	dnsAsked      = 200
)

// network measures what a forwarded port carries, against QEMU's own user network
// with the same kernel and the same program in the guest, and what machines carry
// between them.
func (b *bench) network(ctx context.Context) error {
	e, err := b.newEngine("network")
	if err != nil {
		return err
	}
	defer e.end()
	forward, err := e.netted(ctx)
	if err != nil {
		return err
	}
	rival, err := e.userNetwork(ctx)
	if err != nil {
		return err
	}
	defer rival.end()
	var out, outRival, in, inRival []float64
	for i := range netRounds {
		for _, m := range []struct {
			to    string
			ask   byte
			speed *[]float64
		}{{forward, 'p', &out}, {rival.address, 'p', &outRival}, {forward, 's', &in}, {rival.address, 's', &inRival}} {
			s, err := carry(ctx, m.to, m.ask)
			if err != nil {
				return err
			}
			*m.speed = append(*m.speed, s)
		}
		log.Printf("network %d: guest to host %s, user network %s; host to guest %s, user network %s",
			i+1, speed(out[i]), speed(outRival[i]), speed(in[i]), speed(inRival[i]))
	}
	b.carried("a forwarded TCP port, guest → host, against QEMU's `-netdev user,hostfwd`", 1.5, out, outRival)
	b.carried("the same, host → guest", 0.9, in, inRival)
	rival.end() // it is not to take anything from what follows
	if err := b.between(ctx, e); err != nil {
		return err
	}
	return b.crowd(ctx, forward)
}

func speed(bytes float64) string { return fmt.Sprintf("%.0f MB/s", bytes/1e6) }

func (b *bench) carried(what string, aim float64, ours, rival []float64) {
	x := paired(ours, rival)
	b.out.add(row{
		what: what, aim: fmt.Sprintf("≥ %g ×", aim), ours: speed(median(ours)), rival: "user network: " + speed(median(rival)),
		ratio: times(x), runs: len(ours), hit: judge(x >= aim),
	})
}

// carry pours netBytes through a connection, one way or the other, and gives the
// bytes a second.
func carry(ctx context.Context, to string, ask byte) (float64, error) {
	c, err := dialSoon(ctx, to)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	begun := time.Now()
	if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{ask}, netBytes)); err != nil {
		return 0, err
	}
	n := int64(netBytes)
	if ask == 's' {
		buf := make([]byte, 256<<10)
		for sent := 0; sent < netBytes; sent += len(buf) {
			if _, err := c.Write(buf); err != nil {
				return 0, fmt.Errorf("to %s: %w", to, err)
			}
		}
		n = 1
	}
	if _, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(c, n), make([]byte, 256<<10)); err != nil {
		return 0, fmt.Errorf("from %s: %w", to, err)
	}
	return netBytes / time.Since(begun).Seconds(), nil
}

func dialSoon(ctx context.Context, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	c, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

// netted starts two machines with the program that pours, one of them with a
// forwarded port, which it gives.
func (e *engine) netted(ctx context.Context) (string, error) {
	pour, err := e.b.buildPour(ctx)
	if err != nil {
		return "", err
	}
	if _, _, err := e.start(ctx); err != nil {
		return "", err
	}
	for _, name := range []string{netName, peerName} {
		m := machine(name, "qemu")
		m.Spec.Cpus, m.Spec.Network = 2, "nat"
		if name == netName {
			m.Spec.Ports = []*wire.Port{{Protocol: "tcp", Listen: "127.0.0.1:0", To: strconv.Itoa(netPort)}}
		}
		if _, err := e.do(ctx, m); err != nil {
			return "", err
		}
		if _, err := e.do(ctx, &wire.StartMachine{Request: request(), Name: name}); err != nil {
			return "", err
		}
		if out, err := e.cli(ctx, "cp", pour, name+":/pour").CombinedOutput(); err != nil {
			return "", fmt.Errorf("arcbox cp: %w: %s", err, out)
		}
	}
	if err := e.listening(ctx, netName, "-tcp", ":"+strconv.Itoa(netPort)); err != nil {
		return "", err
	}
	text, err := e.cli(ctx, "inspect", netName, "--format", "json").Output()
	if err != nil {
		return "", fmt.Errorf("arcbox inspect: %w", err)
	}
	var v struct {
		Network struct {
			Ports []struct{ Listen string }
		}
	}
	if err := json.Unmarshal(text, &v); err != nil || len(v.Network.Ports) != 1 {
		return "", fmt.Errorf("the forwarded port of %s: %w", text, err)
	}
	return v.Network.Ports[0].Listen, nil
}

// between measures a machine that reads from another one, and a DNS answer as
// the guest gets it.
func (b *bench) between(ctx context.Context, e *engine) error {
	var took []float64
	for range netRounds {
		d, err := e.guestSays(ctx, "/pour", "-fetch", netName+":"+strconv.Itoa(netPort), strconv.Itoa(netBytes))
		if err != nil {
			return err
		}
		took = append(took, netBytes/d.Seconds())
	}
	b.out.add(row{what: "machine to machine over TCP", aim: "≥ 60 MB/s", ours: speed(median(took)), runs: len(took), hit: judge(median(took) >= 60e6)})
	d, err := e.guestSays(ctx, "sh", "-c", fmt.Sprintf(
		`/pour -ask $(sed -n 's/^nameserver //p' /etc/resolv.conf | head -n 1) %s.arcbox.internal. %d`, netName, dnsAsked))
	if err != nil {
		return err
	}
	b.out.add(row{
		what: "a DNS answer, a machine's name, from a program in a guest", aim: "≤ 1 ms",
		ours: ms(d), runs: dnsAsked, hit: judge(d <= time.Millisecond),
	})
	return nil
}

// guestSays runs a command in the peer that prints nanoseconds.
func (e *engine) guestSays(ctx context.Context, args ...string) (time.Duration, error) {
	out, err := e.cli(ctx, append([]string{"exec", "-n", peerName, "--"}, args...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("%v in a guest: %w", args, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Duration(n), err
}

// crowd holds many connections to one forwarded port open together, and each of
// them is to be answered.
func (b *bench) crowd(ctx context.Context, forward string) error {
	begun := time.Now()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	answered := 0
	for range netCrowd {
		c, err := dialSoon(ctx, forward)
		if err != nil {
			return err
		}
		open = append(open, c)
		_ = c.SetDeadline(time.Now().Add(crowdPatience)) // it is open
		_, err = c.Write(binary.BigEndian.AppendUint64([]byte{'p'}, 1))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		if err != nil {
			log.Printf("network: connection %d: %v", len(open), err)
			break // the next ones would fare alike
		}
		answered++
	}
	b.out.add(row{
		what: "connections to one forwarded port, open together, each answered", aim: fmt.Sprint(netCrowd),
		ours: fmt.Sprintf("%d in %s", answered, time.Since(begun).Round(time.Millisecond)), runs: 1, hit: judge(answered == netCrowd),
	})
	return nil
}

// buildPour builds the program for guests.
func (b *bench) buildPour(ctx context.Context) (string, error) {
	pour := filepath.Join(b.tmp, "pour")
	build := exec.CommandContext(ctx, "go", "build", "-o", pour, "./cmd/internal/bench/pour")
	build.Env = append(build.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build what pours in the guest: %w: %s", err, out)
	}
	return pour, nil
}
