package hosts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/guest/kernel"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// booted is what a machine is going to boot from.
type booted struct {
	boot.Assets
	name  string // of the kernel in the store; "" = a file that its spec names
	boots []kernel.Boots
}

// assets are what a machine boots from: the files that its spec names, else those
// that were made of its kernel. A file for a kernel gets the distribution's
// initramfs.
func (w *World) assets(ctx context.Context, spec fsm.Spec) (booted, error) {
	var b booted
	if !filepath.IsAbs(spec.Kernel) || spec.Initrd == "" {
		var err error
		if b, err = w.kernel(ctx, spec); err != nil {
			return booted{}, err
		}
	}
	if filepath.IsAbs(spec.Kernel) {
		b.Kernel, b.Release, b.Tree = spec.Kernel, "", "" // nobody knows whether they are its modules
	}
	if spec.Initrd != "" {
		b.Initrd = spec.Initrd
	}
	return b, nil
}

// initrds are the initramfs of a machine and, where it has an image or shares, what
// goes behind that. An initramfs that its spec names, with a kernel, is all there is.
func (b booted) initrds(spec fsm.Spec) []string {
	out := []string{b.Initrd}
	if spec.Image != "" && b.Root != "" {
		out = append(out, b.Root)
	}
	if (len(spec.Shares) > 0 || spec.Rosetta) && b.Share != "" {
		out = append(out, b.Share)
	}
	return out
}

// kernel is the kernel of a machine, with the assets that were made of it.
func (w *World) kernel(ctx context.Context, spec fsm.Spec) (booted, error) {
	name := spec.Kernel
	switch {
	case w.Kernels == nil, filepath.IsAbs(name):
		name = kernel.Default
	case name == "":
		name = w.used(archOf(spec))
	}
	if name != kernel.Default {
		return w.bundle(ctx, name, archOf(spec))
	}
	arch := archOf(spec)
	a, err := boot.Find(string(arch), w.Boot...)
	if err != nil {
		hint := "./task up"
		if arch != hv.HostArch {
			hint = "./task assets-" + string(arch)
		}
		return booted{}, &actors.Refusal{Code: wire.Code_CODE_LACKING, Hint: hint, Message: err.Error()}
	}
	w.agents.saw(agentsFor{arch, false}, a.Agent)
	if filepath.IsAbs(spec.Kernel) {
		return booted{Assets: a}, nil
	}
	b := booted{Assets: a, name: kernel.Default}
	if w.Kernels != nil {
		b.boots = w.Kernels.DefaultBoots(a.Release)
	}
	return b, nil
}

// archOf is the architecture of a machine.
func archOf(spec fsm.Spec) hv.Arch { return cmp.Or(hv.Arch(spec.Arch), hv.HostArch) }

// used is the kernel of machines that name none, where that is for them.
func (w *World) used(arch hv.Arch) string {
	name := w.Kernels.Used()
	if b, err := w.Kernels.Find(name); err == nil && b.Arch != string(arch) {
		return kernel.Default
	}
	return name
}

func (w *World) bundle(ctx context.Context, name string, arch hv.Arch) (booted, error) {
	refuse := func(code wire.Code, err error) error {
		return &actors.Refusal{Code: code, Field: "kernel", Hint: "arcbox kernel ls", Message: err.Error()}
	}
	b, err := w.Kernels.Find(name)
	switch {
	case errors.Is(err, kernel.ErrNotFound):
		return booted{}, refuse(wire.Code_CODE_NOT_FOUND, err)
	case err == nil && b.Arch != string(arch):
		return booted{}, &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "kernel", Hint: "arcbox create --arch " + b.Arch + " --kernel " + name,
			Message: fmt.Sprintf("kernel %q: it is for %s, the machine is %s", name, b.Arch, arch)}
	}
	if err != nil {
		return booted{}, refuse(wire.Code_CODE_BAD_INPUT, err)
	}
	a, err := w.assetsOf(ctx, b)
	if err != nil {
		return booted{}, &actors.Refusal{Code: wire.Code_CODE_LACKING, Field: "kernel", Message: fmt.Sprintf("kernel %q: %v", name, err),
			Hint: "arcbox kernel use " + kernel.Default}
	}
	return booted{a, name, b.Boots}, nil
}

// stamp tells whether assets are still of the bundle and of the agent that they
// were made of.
type stamp struct {
	digest string
	agent  string
	size   int64
	time   time.Time
}

// made are the assets of one bundle as they were last prepared or found.
type made struct {
	stamp
	boot.Assets
}

// assetsOf makes the boot assets of a bundle, or finds them. Only the first
// launch of an engine's life looks whether they are what they would be now.
func (w *World) assetsOf(ctx context.Context, b kernel.Bundle) (boot.Assets, error) {
	now := stamp{digest: b.Digest, agent: boot.AgentPath(w.Agent, b.Arch)}
	info, err := os.Stat(now.agent)
	if err != nil && b.Arch != string(hv.HostArch) {
		err = fmt.Errorf("the agent for %s (./task assets-%s builds it): %w", b.Arch, b.Arch, err)
	}
	if err != nil {
		return boot.Assets{}, err
	}
	now.size, now.time = info.Size(), info.ModTime()
	w.making.Lock()
	defer w.making.Unlock()
	if m, ok := w.made[b.Name]; ok && m.stamp == now && readable(m.Kernel) == nil && readable(m.Initrd) == nil && readable(m.Tree) == nil {
		return m.Assets, nil
	}
	a, err := boot.Prepare(ctx, boot.PrepareOptions{Arch: b.Arch, KernelTree: b.Dir, Agent: now.agent, Out: b.Prepared(), Log: w.Logger})
	if err != nil {
		return boot.Assets{}, err
	}
	w.agents.saw(agentsFor{hv.Arch(b.Arch), true}, a.Agent)
	w.made[b.Name] = made{now, a}
	return a, nil
}

// board is what the machine is built as: what was asked for, else what boots of
// its kernel showed.
func board(spec fsm.Spec, boots []kernel.Boots) (hv.Board, hv.Accel) {
	if archOf(spec) == hv.ArchARM64 {
		return "", "" // it has one
	}
	switch spec.Board {
	case string(hv.BoardMicroVM):
		return hv.BoardMicroVM, ""
	case string(hv.BoardQ35):
		return "", ""
	}
	chosen, accel := kernel.Choose(boots)
	switch {
	case chosen != string(hv.BoardMicroVM):
		return "", ""
	case accel == "":
		return hv.BoardMicroVM, hv.AccelAuto
	}
	return hv.BoardMicroVM, hv.Accel(accel)
}
