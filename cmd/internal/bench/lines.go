package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/qemu"
)

// line is a QEMU command line whose serial line is its standard output.
type line struct{ argv []string }

// lines are the rivals of a start.
type lines struct{ own, naive line }

// lines makes them from a machine that ran.
func (e *engine) lines(m *wire.Machine) (lines, error) {
	a, err := boot.Find(runtime.GOARCH, e.home.BootDirs()...)
	if err != nil {
		return lines{}, err
	}
	initrd := filepath.Join(m.GetDir(), "initrd") // the token's segment included
	khz := 0
	if m.GetAccel() == string(hv.AccelTCG) {
		khz = qemu.TSCKHz()
	}
	argv, err := qemu.Cmdline(hv.Spec{
		Version: hv.SpecVersionBoards, Machine: m.GetId(), Name: m.GetName(), Launch: m.GetId(), CID: hv.CIDFirst,
		Backend: hv.BackendQEMU, Accel: hv.Accel(m.GetAccel()), Board: hv.Board(m.GetBoard()), CPUs: int(m.GetSpec().GetCpus()), Memory: m.GetSpec().GetMemory(), TSCKHz: khz,
		Kernel: a.Kernel, Initrd: initrd, Cmdline: "arcbox.name=" + m.GetName(),
		Dir: m.GetDir(), RunDir: m.GetRunDir(), TokenFile: filepath.Join(m.GetDir(), "token"),
	})
	if err != nil {
		return lines{}, err
	}
	out := lines{own: line{ownLine(argv)}}
	if vmlinuz := findImage(a.Release); vmlinuz != "" {
		accel := "tcg"
		if m.GetAccel() == string(hv.AccelKVM) {
			accel = "kvm"
		}
		out.naive.argv = []string{
			argv[0], "-M", "q35", "-accel", accel, "-m", strconv.FormatInt(m.GetSpec().GetMemory()>>20, 10), "-display", "none", "-serial", "stdio",
			"-kernel", vmlinuz, "-initrd", initrd, "-append", "console=ttyS0",
		}
	}
	return out, nil
}

// ownLine is the engine's line without vsock and QMP: nobody serves them, so
// that the guest runs at once. The consoles go where a shell would have them.
func ownLine(argv []string) []string {
	dropped := []string{"socket,id=qmp", "chardev=qmp", "socket,id=vsock", "vhost-user-vsock-pci"}
	out := []string{argv[0]}
	for i := 1; i < len(argv); i++ {
		if argv[i] == "-S" {
			continue
		}
		if i+1 < len(argv) && hasPrefix(argv[i+1], dropped) {
			i++
			continue
		}
		switch {
		case strings.HasPrefix(argv[i], "socket,id=console"):
			out = append(out, "stdio,id=console,signal=off")
		case strings.HasPrefix(argv[i], "socket,id=log"):
			out = append(out, "null,id=log")
		default:
			out = append(out, argv[i])
		}
	}
	return out
}

func hasPrefix(s string, any []string) bool {
	for _, p := range any {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// findImage is the kernel package's bzImage, "" where it is not in the cache.
func findImage(release string) string {
	dir, err := boot.KernelDir()
	if err != nil {
		return ""
	}
	found, err := filepath.Glob(filepath.Join(dir, "*", "boot", "vmlinuz-"+release))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

// first runs the line until the agent's first words, and kills it.
func (l line) first(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.argv[0], l.argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("QEMU alone: %w", err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("QEMU alone: %w", err)
	}
	took := time.Duration(0)
	for s := bufio.NewScanner(out); s.Scan(); {
		if bytes.Contains(s.Bytes(), firstUserLine) {
			took = time.Since(begun)
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if took == 0 {
		return 0, fmt.Errorf("QEMU alone: no user-space line: %s", said.String())
	}
	return took, nil
}
