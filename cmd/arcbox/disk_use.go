package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// diskUseTime is how long inspect waits for a guest's word on its disk.
const diskUseTime = 2 * time.Second

// diskUseJSON is how full a machine's own disk is. Sizes are bytes.
type diskUseJSON struct {
	File      string `json:"file"`
	Size      int64  `json:"size"`
	Allocated int64  `json:"allocated"` // what it takes of the host
	// Guest is what the guest says of its file system, while it runs.
	Guest *guestDiskJSON `json:"guest,omitempty"`
	// What could not be found out, and why.
	HostUnknown  string `json:"host_unknown,omitempty"`
	GuestUnknown string `json:"guest_unknown,omitempty"`
}

type guestDiskJSON struct {
	Size uint64 `json:"size"`
	Used uint64 `json:"used"`
	Free uint64 `json:"free"`
}

// errFarDisk is a disk whose file is not looked up here, where another of that name may be.
var errFarDisk = errors.New("it is a file of the engine's host")

// hostDisk is what the file of a machine's own disk takes.
func (a *app) hostDisk(m *wire.Machine) (disk.Use, error) {
	if a.isFar() {
		return disk.Use{}, errFarDisk
	}
	return disk.Used(diskFile(m))
}

func diskFile(m *wire.Machine) string { return filepath.Join(m.GetDir(), disk.FileName) }

// diskUse looks at a machine's own disk, nil where there is none, or none yet.
// Whatever can't be found out, it says so, and never waits for longer than limit.
func (a *app) diskUse(ctx context.Context, e engine, m *wire.Machine, limit time.Duration) *diskUseJSON {
	if m.GetSpec().GetDisk() == 0 || m.GetState() == "Created" || m.GetDir() == "" {
		return nil
	}
	out := &diskUseJSON{File: diskFile(m)}
	host, err := a.hostDisk(m)
	if err != nil {
		out.HostUnknown = rootCause(err).Error()
	}
	out.Size, out.Allocated = host.Size, host.Allocated
	if m.GetState() != "Running" || isSim(m) {
		return out
	}
	if out.Guest, err = a.guestDisk(ctx, e, m.GetName(), limit); err != nil {
		out.GuestUnknown = err.Error()
	}
	return out
}

func (a *app) guestDisk(ctx context.Context, e engine, name string, limit time.Duration) (*guestDiskJSON, error) {
	ctx, cancel := withAgentTime(ctx, name, limit)
	defer cancel()
	var said *guestwire.DiskUse
	err := a.askGuest(ctx, e, name, func(ctx context.Context, c *guest.Client) error {
		reply, err := c.SystemInfo(ctx)
		said = reply.GetData()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case said == nil:
		return nil, errors.New("its agent does not tell")
	case said.GetSize() > disk.MaxSize, said.GetUsed() > said.GetSize(), said.GetFree() > said.GetSize():
		return nil, errors.New("its agent tells what can't be")
	}
	return &guestDiskJSON{said.GetSize(), said.GetUsed(), said.GetFree()}, nil
}

// askGuest asks a machine's agent something, within ctx.
func (a *app) askGuest(ctx context.Context, e engine, name string, do func(context.Context, *guest.Client) error) error {
	c, err := a.guest(ctx, e, name)
	if err != nil {
		return orCause(ctx, err)
	}
	defer c.Close() //nolint:errcheck // done with it
	return orCause(ctx, do(ctx, c))
}

// diskFacts is a disk's use for people.
func diskFacts(u *diskUseJSON) []fact {
	if u == nil {
		return nil
	}
	host := fmt.Sprintf("takes %s of %s: %s", roundSize(u.Allocated), roundSize(u.Size), u.File)
	if u.HostUnknown != "" {
		host = "unknown: " + u.File + ": " + u.HostUnknown
	}
	facts := []fact{{"disk on host", host}}
	switch {
	case u.GuestUnknown != "":
		facts = append(facts, fact{"disk in guest", "unknown: " + u.GuestUnknown})
	case u.Guest != nil:
		facts = append(facts, fact{"disk in guest", fmt.Sprintf("%s used, %s free", roundSize(int64(u.Guest.Used)), roundSize(int64(u.Guest.Free)))}) //nolint:gosec // checked
	}
	return facts
}
