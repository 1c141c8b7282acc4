package hosts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// shutdownGrace is the time between SIGTERM and SIGKILL inside the guest.
const shutdownGrace = 5 * time.Second

func (w *World) dialer(ref actors.Ref) guest.Dialer {
	h := client.Connect(w.place(ref))
	return func(ctx context.Context) (net.Conn, error) { return h.Dial(ctx, hv.AgentPort) }
}

// Ready implements actors.Guests.
func (w *World) Ready(ctx context.Context, ref actors.Ref) (fsm.ReadyFact, error) {
	var connected time.Time
	dial := w.dialer(ref)
	hello, err := guest.AwaitReady(ctx, func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		connected = time.Now()
		return c, err
	}, guest.Probe{})
	if late, ok := errors.AsType[*guest.NotReadyError](err); ok { // who waited knows for how long
		err = errors.New("nobody answered")
		if late.Last != nil {
			err = late.Last
		}
	}
	if err != nil {
		return fsm.ReadyFact{}, err
	}
	f := fsm.ReadyFact{
		AgentVersion: hello.GetVersion(), AgentID: hello.GetAgentId(), GuestBoot: hello.GetBootId(), Phases: hello.GetPhases(),
	}
	if d := hello.GetData(); d != nil {
		f.Disk = &fsm.DiskFound{Replayed: d.GetReplayed(), Errors: d.GetErrors()}
	}
	answered := time.Now()
	if ref.MAC != "" && slices.Contains(hello.GetAbilities(), wire.AbilityAddress) {
		if f.Address, err = w.address(ctx, ref); err != nil {
			return fsm.ReadyFact{}, err
		}
	}
	if host, err := client.Connect(w.place(ref)).Hello(ctx); err == nil {
		if f.Phases == nil {
			f.Phases = map[string]int64{}
		}
		f.Phases["connected"] = connected.Sub(host.Started).Milliseconds()
		f.Phases["answered"] = answered.Sub(host.Started).Milliseconds()
	}
	return f, nil
}

// Arm implements actors.Guests.
func (w *World) Arm(ctx context.Context, ref actors.Ref) error {
	err := client.Connect(w.place(ref)).AllowReboot(ctx)
	if errors.Is(err, hv.ErrUnsupported) {
		return nil
	}
	return err
}

// Check implements actors.Guests. A guest that slept with its host gets the time.
func (w *World) Check(ctx context.Context, ref actors.Ref) error {
	c, err := guest.Connect(ctx, w.dialer(ref))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err = c.Ping(ctx); err != nil {
		return err
	}
	if behind, err := c.CatchUp(ctx); err != nil {
		w.Logger.Warn("guest's clock", "machine", ref.Name, "err", err)
	} else if behind > 0 {
		w.Logger.Info("the guest's clock fell behind and is set", "machine", ref.Name, "behind", behind)
	}
	return nil
}

// Booted waits until the init of a machine's image is ready. See actors.Options.
func (w *World) Booted(ctx context.Context, ref actors.Ref) (fsm.BootedFact, error) {
	c, err := guest.Connect(ctx, w.dialer(ref))
	if err != nil {
		return fsm.BootedFact{}, err
	}
	defer func() { _ = c.Close() }()
	reply, err := c.AwaitBoot(ctx)
	if errors.Is(err, guest.ErrUnable) {
		err = errors.Join(actors.ErrNeverTold, err)
	}
	return fsm.BootedFact{Init: reply.GetInit(), Phases: reply.GetPhases()}, err
}

// Shutdown implements actors.Guests.
func (w *World) Shutdown(ctx context.Context, ref actors.Ref) error {
	asked, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	c, err := guest.Connect(asked, w.dialer(ref))
	if err == nil {
		defer func() { _ = c.Close() }()
		if err = c.Shutdown(asked, shutdownGrace); err == nil {
			return nil
		}
	}
	if button := client.Connect(w.place(ref)).PowerButton(ctx); button != nil {
		return fmt.Errorf("shutdown: %w", errors.Join(err, button))
	}
	return nil
}

// Open implements actors.Guests.
func (w *World) Open(ctx context.Context, ref actors.Ref, port uint32, conn *os.File) error {
	if err := client.Connect(w.place(ref)).Bridge(ctx, port, conn); err != nil {
		return fmt.Errorf("open guest port %d: %w", port, err)
	}
	return nil
}

// Grow makes the own disk of a machine that runs larger, then its file system. A
// guest that can't do its part is found out before the disk is touched. See
// actors.Options.
func (w *World) Grow(ctx context.Context, ref actors.Ref, size int64) error {
	c, err := guest.Connect(ctx, w.dialer(ref))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if !slices.Contains(c.Hello().GetAbilities(), wire.AbilityGrow) {
		return fmt.Errorf("its agent is older than that: %w", guest.ErrUnable)
	}
	err = client.Connect(w.place(ref)).GrowDisk(ctx, wire.SerialData, size)
	if errors.Is(err, hv.ErrUnsupported) {
		return fmt.Errorf("its VM host is older than that, or its backend can't: %w", err)
	}
	if err != nil {
		return err
	}
	_, err = c.Grow(ctx, size)
	return err
}

// Hold has a guest held still, or go on. See actors.Options.
func (w *World) Hold(ctx context.Context, ref actors.Ref, still bool) error {
	h := client.Connect(w.place(ref))
	turn := h.Resume
	if still {
		turn = h.Pause
	}
	err := turn(ctx)
	if errors.Is(err, hv.ErrUnsupported) {
		return fmt.Errorf("its VM host is older than that, or its backend can't: %w", errors.Join(actors.ErrNoPause, err))
	}
	return err
}
