package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/cavaliergopher/cpio"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// rivalGuest is a guest of QEMU alone, whose port QEMU's user network forwards.
type rivalGuest struct {
	address string
	cmd     *exec.Cmd
	ended   sync.Once
}

func (r *rivalGuest) end() {
	r.ended.Do(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait() // it was killed
	})
}

// userNetwork starts the rival: the QEMU line of the machine that runs, its
// kernel and its initramfs, but with pour as the first process.
func (e *engine) userNetwork(ctx context.Context) (*rivalGuest, error) {
	m, err := client.Call[*wire.Machine](ctx, e.Client, &wire.InspectMachine{Name: netName})
	if err != nil {
		return nil, err
	}
	l, err := e.lines(m)
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(e.b.tmp, "usernet-initrd")
	if err := withInit(initrd, filepath.Join(m.GetDir(), "initrd"), filepath.Join(e.b.tmp, "pour")); err != nil {
		return nil, fmt.Errorf("initramfs of the user network's guest: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	argv := append([]string{}, l.own.argv...)
	for i := range argv {
		if argv[i] == "-initrd" {
			argv[i+1] = initrd
		}
	}
	argv = append(argv, "-netdev", fmt.Sprintf("user,id=n0,hostfwd=tcp:127.0.0.1:%d-:%d", port, netPort), "-device", "virtio-net-pci,netdev=n0")
	r := &rivalGuest{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	r.cmd.Stderr = &said
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("QEMU alone: %w", err)
	}
	s := bufio.NewScanner(out)
	for s.Scan() {
		if bytes.Contains(s.Bytes(), []byte("listening")) {
			go func() {
				for s.Scan() { // its console is never to stand still
				}
			}()
			return r, nil
		}
		fmt.Fprintf(&said, "%s\n", s.Bytes())
	}
	r.end()
	return nil, fmt.Errorf("QEMU alone does not listen: %s", said.Bytes())
}

// withInit lays a program over an initramfs as its first process.
func withInit(path, initrd, program string) error {
	base, err := os.ReadFile(initrd)
	if err != nil {
		return err
	}
	init, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	out := bytes.NewBuffer(append(base, make([]byte, -len(base)&3)...))
	w := cpio.NewWriter(out)
	err = w.WriteHeader(&cpio.Header{Name: "init", Mode: cpio.TypeReg | 0o755, Size: int64(len(init))})
	if err == nil {
		_, err = w.Write(init)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// freePort is one that was free a moment ago: QEMU can't pick one itself.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
