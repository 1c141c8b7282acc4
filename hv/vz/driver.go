package vz

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Options are what a driver can be told. The zero value is usable.
type Options struct {
	StartTimeout time.Duration // of the framework's start; 0 = 30 s
	StallTime    time.Duration // that nobody may read a connection whose window is full; 0 = 10 s
}

// Driver runs VMs with Virtualization.framework.
type Driver struct {
	framework framework
	program   string // our own, for a person to sign
	start     time.Duration
	stall     time.Duration
}

var _ hv.Driver = (*Driver)(nil)

// New makes a driver. It starts nothing.
func New(o Options) *Driver { return newDriver(o, ofThisMac()) }

func newDriver(o Options, f framework) *Driver {
	d := &Driver{framework: f, program: "arcbox-vmhost", start: o.StartTimeout, stall: o.StallTime}
	if path, err := os.Executable(); err == nil {
		d.program = path
	}
	if d.start <= 0 {
		d.start = 30 * time.Second
	}
	if d.stall <= 0 {
		d.stall = stallTime
	}
	return d
}

// Name is hv.BackendVZ.
func (d *Driver) Name() hv.Backend { return hv.BackendVZ }

// Capabilities says what a VM of the framework can do. It does not tell of a
// guest's reset, and its disks keep their size.
func (d *Driver) Capabilities() hv.Capabilities {
	return hv.Capabilities{PowerButton: true, Listen: true, Pause: true, Save: true}
}

// Start runs a VM: the framework says that it runs.
func (d *Driver) Start(ctx context.Context, spec hv.Spec, env hv.Env) (hv.VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("hv/vz: start: %w", err)
	}
	if d.framework.Make == nil {
		return nil, fmt.Errorf("hv/vz: start: Virtualization.framework is of macOS, and of builds with cgo: %w", hv.ErrUnsupported)
	}
	shares, states := usable(spec.Shares)
	spec.Shares = shares
	c, err := configure(spec)
	if err != nil {
		return nil, err
	}
	if spec.Saved != "" {
		c, err = asSaved(c, spec.Saved)
	} else if c.Identity, err = d.framework.Identify(); err != nil {
		err = explain("start", err, d.program)
	}
	if err != nil {
		return nil, err
	}
	for _, refuse := range []func() error{
		func() error { return rosettaHere(c, hv.HostArch) },
		func() error { return d.framework.Limits().allow(c) },
		func() error { return checkFiles(c, hv.HostArch) },
	} {
		if err := refuse(); err != nil {
			return nil, err
		}
	}
	v, err := d.build(c, spec, env)
	if err != nil {
		return nil, err
	}
	v.shares = states
	ctx, cancel := context.WithTimeout(ctx, d.start+hv.SavedTime(spec.Saved))
	defer cancel()
	if err := v.launch(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// build makes all that a VM has, and the framework's VM, which does not run yet.
func (d *Driver) build(c config, spec hv.Spec, env hv.Env) (*vm, error) {
	v := newVM(d, env)
	v.config, v.from = c, spec.Saved
	frame := 0
	if c.NIC != nil {
		frame = c.NIC.MTU + ethernet
		v.link = &link{frame: frame}
		if err := v.link.listen(filepath.Dir(spec.NIC.Socket), filepath.Base(spec.NIC.Socket)); err != nil {
			return nil, err
		}
	}
	var err error
	if v.ends, err = newEnds(c.NIC != nil, frame); err != nil {
		v.abandon()
		return nil, err
	}
	m, err := d.framework.Make(c, v.ends.theirs)
	if err != nil {
		v.abandon()
		return nil, explain("make the VM", err, d.program)
	}
	v.machine, v.sockets = m, newSockets(m, spec.CID, d.stall)
	if spec.VsockSock {
		if err := v.connector(spec.RunDir); err != nil {
			v.clear()
			return nil, err
		}
	}
	return v, nil
}

// usable parts the shares that can be had from the others, and says why not.
func usable(all []hv.Share) (good []hv.Share, states []hv.ShareState) {
	for _, sh := range all {
		state := hv.ShareState{Tag: sh.Tag}
		if err := shareable(sh.Path); err != nil {
			state.Error = err.Error()
		} else {
			good = append(good, sh)
		}
		states = append(states, state)
	}
	return good, states
}

// shareable refuses what is no directory, and what is reached by a link.
func shareable(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if real != path {
		return fmt.Errorf("%s: a link leads to %s: name that", path, real)
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errors.New(path + ": not a directory")
	}
	return err
}
